// Package cloud asks the instance metadata service of a cloud (Azure, AWS, Google Cloud) where this machine is, and
// which public addresses it leaves by.
package cloud
