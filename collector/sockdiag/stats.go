package sockdiag

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Stats is what the Source sees and what it cannot see. Nobody changes it.
type Stats struct {
	// Netns has one entry for each namespace that the Source reads, in order of Netns.
	Netns []NetnsStats
	// OwnOnly: no namespace is read but the agent's own, because of the
	// configuration or for lack of rights.
	OwnOnly bool
	// Refused says what the Source lacks the rights to see and what would help, one entry for each missing right.
	Refused []*netns.AccessError
	// Unread counts the known namespaces that could not be opened.
	Unread int
	// FindErrors counts failed searches for namespaces; the Source goes on with those it knows.
	FindErrors uint64
}

// Tally counts what one dump has shown.
type Tally struct {
	Sockets   int // all that the kernel showed; where loopback is frequent it leaves it out
	Flows     int
	Inbound   int // connections that a listener here accepted: no flows
	Loopback  int // connections within the machine: no flows
	Unsure    int // connections from before the first dump that either side may have opened: no flows until that is known
	Listeners int
	// Malformed messages are skipped, attributes of a newer kernel passed over.
	Malformed         uint64
	UnknownAttributes uint64
	firstMalformed    error
}

// NetnsStats is the numbers of one namespace.
type NetnsStats struct {
	Netns uint64
	Path  string
	// Own: it is the agent's own.
	Own bool
	// Last is what the last complete dump showed.
	Last Tally
	// DumpSeconds is how long the last dump took, waiting for the Sink included.
	DumpSeconds float64
	// Dumps that were complete, and those that broke off.
	Dumps, Aborted uint64
	// Malformed and UnknownAttributes are sums over all dumps and events.
	Malformed, UnknownAttributes uint64
	// Err is the last error and when it came; it stays after dumps have succeeded again.
	Err   error
	ErrAt collector.Time

	Destroyed DestroyedStats
}

// DestroyedStats counts the kernel's messages about freed sockets.
type DestroyedStats struct {
	// Listening: the destroy groups are joined here.
	Listening bool
	// Told counts the messages, one for each socket.
	Told uint64
	// Closed of them were flows that ended. Unknown of those were reset or refused here: the
	// kernel has taken their destination away, and their source where they were not bound to it.
	Closed, Unknown uint64
	// Lingering live on in TIME_WAIT or FIN_WAIT2; the next dump shows them.
	Lingering uint64
	// NoPort counts sockets that found no local port to connect from: EADDRNOTAVAIL.
	NoPort uint64
	// Others were no flows: inbound, loopback or never connected.
	Others uint64
	// Overruns counts how often the kernel had to drop messages; nobody knows how many each time.
	Overruns uint64
	// SmallBuffer: the receive buffer could not be made large, which needs CAP_NET_ADMIN, so
	// that overruns are likelier.
	SmallBuffer bool
}

func (n *NetnsStats) dumped(t *Tally, took time.Duration, err error) {
	n.DumpSeconds = took.Seconds()
	n.Malformed += t.Malformed
	n.UnknownAttributes += t.UnknownAttributes
	if err != nil {
		n.Aborted++
		return
	}
	n.Dumps++
	n.Last = *t
}

// failed notes an error; a malformed message is one too.
func (n *NetnsStats) failed(err error, at collector.Time) {
	n.Err, n.ErrAt = err, at
}
