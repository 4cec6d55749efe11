// Package cloud asks the instance metadata service of a cloud which public
// addresses this machine leaves by.
package cloud
