package query

import (
	"strconv"
	"strings"
	"time"
)

// Number writes f as PromQL and flags read it.
func Number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Duration writes d as Prometheus reads it; 0 is empty.
func Duration(d time.Duration) string {
	switch s := int(d / time.Second); {
	case s == 0:
		return ""
	case s%3600 == 0:
		return strconv.Itoa(s/3600) + "h"
	case s%60 == 0:
		return strconv.Itoa(s/60) + "m"
	default:
		return strconv.Itoa(s) + "s"
	}
}

// Indent moves every line of an expression to the right.
func Indent(s string) string {
	return "  " + strings.ReplaceAll(s, "\n", "\n  ")
}
