package collector

// OwnerNumber stands for an Owner in two bytes, so that each flow can keep one. A number is given to another owner only
// after no flow has it any more.
type OwnerNumber uint16

const (
	// OwnerUnknown stands for a flow of which no owner is known.
	OwnerUnknown OwnerNumber = 0
	// OwnerOther stands for all owners that found no number free.
	OwnerOther OwnerNumber = 1
	// FirstClient is the first number of a client. A flow that is a client's, or unknown, takes a better answer
	// later; any other flow keeps the owner that it has.
	FirstClient OwnerNumber = 1 << 15
)

// Settled reports whether a flow keeps owner n for good.
func (n OwnerNumber) Settled() bool { return n != OwnerUnknown && n < FirstClient }

// OwnerKind says what an Owner is, as the label owner_kind shows it.
type OwnerKind string

// The kinds of owner.
const (
	KindUnknown   OwnerKind = "unknown"
	KindOther     OwnerKind = "other"     // the sum of owners that are not shown one by one
	KindPod       OwnerKind = "pod"       // of Kubernetes: namespace/name, or its UID
	KindContainer OwnerKind = "container" // the runtime's name for it, or the first 12 digits of its ID
	KindUnit      OwnerKind = "unit"      // of systemd: the name of a service or scope, or the path of a slice
	KindProcess   OwnerKind = "process"   // its command, where it is in no unit
	KindClient    OwnerKind = "client"    // another machine, by its address
)

// Owner is who holds a port, as metrics, alerts, page and API name it.
type Owner struct {
	Kind OwnerKind
	Name string
	// Container is the container of a pod, by its name there, or the first 12 digits of its ID. Empty where unknown.
	Container string
	// Workload is what made a pod, and WorkloadKind what that is: Deployment, StatefulSet. Empty where unknown.
	Workload, WorkloadKind string
}
