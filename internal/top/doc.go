// Package top shows port spaces as a table in the terminal, the soonest to run out first: once, as JSON, or live with
// keys as in htop.
package top
