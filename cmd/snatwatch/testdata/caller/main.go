// Caller is a workload of tests: it keeps flows to a server open, replaces some of them by new ones, and writes how
// many it holds and how many it has opened. A flow that does not open is tried again for as long as the program runs.
//
// usage: caller HOST:PORT FLOWS REPLACED
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Flows are opened, and later replaced, this long after each other.
	openEvery    = 10 * time.Millisecond
	replaceEvery = 50 * time.Millisecond
	// dialTimeout lets the kernel send the first packet three times: after 0, 1 and 3 s.
	dialTimeout = 4 * time.Second
)

type caller struct {
	target       string
	live, opened atomic.Int64
}

// open returns a flow that is open; closed, it is reset.
func (c *caller) open() *net.TCPConn {
	for {
		conn, err := net.DialTimeout("tcp", c.target, dialTimeout)
		if err != nil {
			time.Sleep(replaceEvery)
			continue
		}
		tcp := conn.(*net.TCPConn)
		_ = tcp.SetLinger(0)
		c.opened.Add(1)
		c.live.Add(1)
		return tcp
	}
}

func main() {
	flows, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	replaced, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	c := &caller{target: os.Args[1]}
	go func() {
		for range time.Tick(200 * time.Millisecond) {
			fmt.Printf("live %d opened %d\n", c.live.Load(), c.opened.Load())
		}
	}()
	open := make([]*net.TCPConn, flows)
	var all sync.WaitGroup
	for i := range open {
		all.Go(func() { open[i] = c.open() })
		time.Sleep(openEvery)
	}
	all.Wait()
	for i := range replaced {
		time.Sleep(replaceEvery)
		_ = open[i%flows].Close()
		c.live.Add(-1)
		open[i%flows] = c.open()
	}
	select {}
}
