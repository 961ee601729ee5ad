package hostlocal

import (
	"hash/fnv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/identifier"
)

// lineBreak separates the container ID from the interface name in a reservation.
const lineBreak = "\r\n"

// Owner is the attachment that holds an address. An empty IfName stands for a
// reservation by an old host-local, which stored the container ID alone.
type Owner struct {
	ContainerID string
	IfName      string
}

// String names the owner for errors and logs.
func (o Owner) String() string {
	if o.IfName == "" {
		return "container " + o.ContainerID
	}
	return "container " + o.ContainerID + " interface " + o.IfName
}

// content is what upstream writes into the file of a reservation.
func (o Owner) content() string {
	if o.IfName == "" {
		return o.ContainerID
	}
	return o.ContainerID + lineBreak + o.IfName
}

// legacy is the owner in the form that an old host-local stored.
func (o Owner) legacy() Owner {
	return Owner{ContainerID: o.ContainerID}
}

func (o Owner) hash() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(o.content())) // a hash.Hash never fails
	return h.Sum64()
}

// parseOwner reads the content of a reservation as upstream does, which ignores
// white space around it. An empty file gives the zero Owner.
func parseOwner(content []byte) Owner {
	id, ifName, _ := strings.Cut(strings.TrimSpace(string(content)), lineBreak)
	return Owner{ContainerID: id, IfName: ifName}
}

// check keeps out whatever would not survive being written and read.
func (o Owner) check() error {
	if o.ContainerID == "" {
		return failure.Of(ErrOwner, "CNI_CONTAINERID is missing: name the container")
	}
	if !identifier.Valid(o.ContainerID) {
		return failure.Of(ErrOwner, "CNI_CONTAINERID %q: use %s", o.ContainerID, identifier.Rule)
	}
	if err := identifier.CheckLink(o.IfName); err != nil {
		return failure.Of(ErrOwner, "CNI_IFNAME %w", err)
	}
	return nil
}
