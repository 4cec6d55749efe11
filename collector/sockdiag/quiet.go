package sockdiag

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// A dump walks the machine's whole hash table, however few sockets the namespace has: 4 ms where the table is large.
// Most namespaces of a node are pods that open nothing. The kernel counts the sockets of a namespace in some µs, so
// one without flows is not dumped again while its counts stay and none of its sockets is destroyed.
const (
	// A socket that is bound and then connected does not change the counts; only UDP counts it while it is bound. A
	// dump comes after so many polls in any case.
	skipMax    = 60
	skipMaxUDP = 12
)

// counter counts the sockets of one namespace; its files keep the namespace alive.
type counter struct{ files []*os.File }

// counts are how many sockets of a kind a namespace has: inuse and tw of its sockstat and sockstat6.
type counts struct {
	tcp, timeWait, udp int
	known              bool
}

// openCounter opens the counts of n, nil where they cannot be had.
func openCounter(n netns.Netns) *counter {
	h, err := n.Open()
	if err != nil {
		return nil
	}
	defer func() { _ = h.Close() }()
	c := &counter{}
	err = h.Do(func() error {
		for _, name := range []string{"sockstat", "sockstat6"} {
			f, err := os.Open("/proc/thread-self/net/" + name)
			switch {
			case err == nil:
				c.files = append(c.files, f)
			case name == "sockstat6" && errors.Is(err, os.ErrNotExist): // a kernel without IPv6
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.close()
		return nil
	}
	return c
}

func (c *counter) close() {
	if c != nil {
		for _, f := range c.files {
			_ = f.Close()
		}
	}
}

// read counts the sockets of now.
func (c *counter) read(buffer []byte) (out counts) {
	if c == nil {
		return counts{}
	}
	for _, f := range c.files {
		n, err := f.ReadAt(buffer, 0)
		if n == 0 && err != nil || !out.add(buffer[:n]) {
			return counts{}
		}
	}
	return out
}

// add adds the counts that a file has; false where it is not written as expected.
func (c *counts) add(text []byte) bool {
	found := false
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 || fields[1] != "inuse" {
			continue
		}
		n, err := strconv.Atoi(fields[2])
		if err != nil {
			return false
		}
		switch fields[0] {
		case "TCP:", "TCP6:":
			c.tcp += n
			found = true
		case "UDP:", "UDP6:":
			c.udp += n
		}
		if len(fields) > 6 && fields[5] == "tw" {
			if n, err = strconv.Atoi(fields[6]); err != nil {
				return false
			}
			c.timeWait += n
		}
	}
	c.known = found
	return found
}
