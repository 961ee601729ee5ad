package hostlocal

import (
	"hash/fnv"
	"strings"
)

// lineBreak separates the container ID from the interface name in a reservation.
const lineBreak = "\r\n"

// ifNameMax is IFNAMSIZ of Linux without the final NUL.
const ifNameMax = 15

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
	switch {
	case o.ContainerID == "":
		return problemf(ErrOwner, "CNI_CONTAINERID is missing: name the container")
	case !isIdentifier(o.ContainerID):
		return problemf(ErrOwner, "CNI_CONTAINERID %q is not a container ID: use letters, digits, '_', '.' and '-', a letter or digit first", o.ContainerID)
	case o.IfName == "":
		return problemf(ErrOwner, "CNI_IFNAME is missing: name the interface")
	case len(o.IfName) > ifNameMax || strings.ContainsAny(o.IfName, "/: \t\r\n\v\f") || o.IfName == "." || o.IfName == "..":
		return problemf(ErrOwner, "CNI_IFNAME %q is not an interface name: use at most %d characters without '/', ':' and spaces", o.IfName, ifNameMax)
	}
	return nil
}
