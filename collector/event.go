package collector

// Kind says what an Event means.
type Kind uint8

// The kinds of event. A dump is Begin, any number of Seen, then End or Abort.
// Opened and Closed may come in between, about flows that the dump has shown,
// will show, or will not show.
const (
	// Begin: a dump of Netns starts. At is a moment before the kernel was asked.
	Begin Kind = iota + 1
	// Seen: the dump shows Flow. At is a moment after the kernel wrote the message.
	Seen
	// End: the dump is complete. A flow of this Netns that was neither Seen
	// since Begin nor Opened since Begin is gone. An empty dump empties the
	// namespace; a source also sends one when a namespace has vanished.
	End
	// Abort: the dump broke off (interrupted, namespace vanished half way). What
	// it showed stands; what it did not show says nothing.
	Abort
	// Opened: the kernel announced a new flow (IPCTNL_MSG_CT_NEW).
	Opened
	// Closed: the kernel announced a flow's end (IPCTNL_MSG_CT_DELETE, or a destroyed socket). A
	// socket that was reset or refused has lost its Destination, and its Source where it was
	// not bound to one: they are then not valid.
	Closed
	// Overrun: the kernel dropped events of Netns. What it dropped is unknown
	// until a complete dump.
	Overrun
	// NoPort: an open failed before its first packet, because no local port was free towards the address of
	// Flow.Destination, whose port is unknown (0). Protocol and Netns of Flow are set besides.
	NoPort
	// Gap: flows of Netns may have opened and ended unseen, for another reason than an Overrun: for a while the kernel
	// sent no events, or it gave up entries to make room. As after an Overrun, only a dump that begins later is whole.
	Gap
)

var kindNames = [...]string{"none", "begin", "seen", "end", "abort", "opened", "closed", "overrun", "no port", "gap"}

func (k Kind) String() string { return name(kindNames[:], int(k), "kind") }

// Event is one thing that a source saw.
type Event struct {
	Kind Kind
	// Announced is set for End: the kernel has announced, by Opened, each flow that opened since the dump before.
	Announced bool
	// At is when it was seen, on the agent's clock.
	At Time
	// Netns is the network namespace it was seen in (inode number); for Seen, Opened,
	// Closed and NoPort equal to Flow.Netns.
	Netns uint64
	// Flow is set for Seen, Opened, Closed and NoPort.
	Flow Flow
}
