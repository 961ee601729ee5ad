package doctor

import (
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/blueprint"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/packetfilter"
	"github.com/fairway-cni/fairway/pkg/pools"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// Places are where things are on a host.
type Places struct {
	Netconf string
	Runtime attachment.Runtime
	// Agent is the socket of fairwayd.
	Agent string
	// Version is this release's, to which plugins are compared. A build without one compares nothing.
	Version string
	// MostChecked is for how many attachments CHECK is run, and for how many networks STATUS, when all checks are made. 0: all.
	MostChecked int
	// Resolv are the files that name the host's servers, the first that names any beyond the host itself counts. Nil: none is looked at.
	Resolv []string
}

// Host is what the checks look at.
type Host struct {
	Places
	Networks conflist.Networks
	// Attached are the attachments that runtimes have recorded; Alive those whose container is there.
	Attached, Alive []attachment.Attachment
	Snapshot        snapshot.Host
	Kernel          *kernel.Kernel

	described []topology.Network                 // those of files, and those in use
	onNetwork map[string][]attachment.Attachment // of Alive, by the network
	ownedBy   map[state.Owner]bool               // those of Alive; nil: not collected yet
	marks     *sweep.Marks                       // nil: not read yet
	troubled  []state.Owner                      // attachments of which something is said already
	segments  map[int][]neighbour
	silent    hanging
	filter    *packetfilter.Filter // nil: not read yet
}

// Examine reads a host. The caller closes it.
func Examine(p Places) (*Host, error) {
	h := &Host{Places: p}
	var err error
	if h.Networks, err = conflist.Load(p.Netconf); err != nil {
		return nil, err
	}
	host, err := pools.ReadHost()
	if err != nil {
		return nil, err
	}
	h.Networks, _ = blueprint.Settle(h.Networks, host) // where no subnet is free, the compiled one overlaps something
	if h.Attached, err = p.Runtime.List(); err != nil {
		return nil, err
	}
	var paths []string
	for _, a := range h.Attached {
		if a.Alive() {
			h.Alive = append(h.Alive, a)
			paths = append(paths, a.Path())
		}
	}
	if h.Snapshot, err = snapshot.Read(paths); err != nil {
		return nil, err
	}
	for _, n := range topology.DescribeNetworks(h.Networks.All) {
		if n.Defined || h.used(n.Name) {
			h.described = append(h.described, n)
		}
	}
	if h.Kernel, err = kernel.Open(""); err != nil {
		return nil, err
	}
	return h, nil
}

// Close closes the handles of the kernel.
func (h *Host) Close() { h.Kernel.Close() }

// used says whether a container that is alive is on the network.
func (h *Host) used(network string) bool { return len(h.on(network)) > 0 }

// on are the attachments to a network that are alive.
func (h *Host) on(network string) []attachment.Attachment {
	if h.onNetwork == nil {
		h.onNetwork = make(map[string][]attachment.Attachment)
		for _, a := range h.Alive {
			h.onNetwork[a.Network] = append(h.onNetwork[a.Network], a)
		}
	}
	return h.onNetwork[network]
}

// marked is what the host holds in the names of networks.
func (h *Host) marked() (sweep.Marks, error) {
	if h.marks == nil {
		marks, err := sweep.ReadMarks(h.Kernel)
		if err != nil {
			return marks, err
		}
		h.marks = &marks
	}
	return *h.marks, nil
}

// owners are those of the attachments that are alive.
func (h *Host) owners() map[state.Owner]bool {
	if h.ownedBy == nil {
		h.ownedBy = make(map[state.Owner]bool, len(h.Alive))
		for _, a := range h.Alive {
			h.ownedBy[a.Owner()] = true
		}
	}
	return h.ownedBy
}

// networks are those of files, and those in use.
func (h *Host) networks() []conflist.Network {
	var networks []conflist.Network
	for _, n := range h.Networks.All {
		if n.List != nil && (n.File != "" || h.used(n.Name)) {
			networks = append(networks, n)
		}
	}
	return networks
}

// where names a network, with its file for who has to change it.
func where(n conflist.Network) string {
	if n.File == "" {
		return "network " + n.Name
	}
	return "network " + n.Name + " (" + n.File + ")"
}

// forwards says whether the host forwards packets of a network from one link to another.
func forwards(n topology.Network) bool {
	return onHost(n) && !slices.Contains(n.Marks, topology.Internal)
}

// tags are those of the attachments that are alive.
func (h *Host) tags() map[string]bool {
	tags := make(map[string]bool)
	for _, a := range h.Alive {
		tags[state.Owner{Network: a.Network, ContainerID: a.ID, IfName: a.IfName}.Tag()] = true
	}
	return tags
}

// some lists the first of many, for a line.
func some(all []string) string {
	const most = 4
	if len(all) > most {
		all = append(slices.Clone(all[:most]), "…")
	}
	return strings.Join(all, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
