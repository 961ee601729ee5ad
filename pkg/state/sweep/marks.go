package sweep

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/qdisc"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Marks is what a host holds in the names of all networks, read once, for who has to know of many networks whether Prune would find anything.
type Marks struct {
	Holdings []ruleset.Holding
	all      []netlink.Link
	links    map[string]netlink.Link
	grouped  map[uint32][]*netlink.LinkAttrs
	tags     map[string][]string // of Holdings, by the word after "fairway", which stands for the network
}

// ReadMarks reads them. It changes nothing.
func ReadMarks(k *kernel.Kernel) (Marks, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return Marks{}, fmt.Errorf("ip link show: %w", err)
	}
	held, err := holdings(k, links)
	if err != nil {
		return Marks{}, err
	}
	m := Marks{Holdings: held, all: links, links: map[string]netlink.Link{}, grouped: map[uint32][]*netlink.LinkAttrs{}, tags: map[string][]string{}}
	for _, link := range links {
		a := link.Attrs()
		m.links[a.Name] = link
		m.grouped[a.Group] = append(m.grouped[a.Group], a)
	}
	for _, h := range held {
		if fields := strings.SplitN(h.Tag, " ", 3); len(fields) == 3 {
			m.tags[fields[1]] = append(m.tags[fields[1]], h.Tag)
		}
	}
	return m, nil
}

// Stale says whether Prune of the network would find something to remove.
func (m Marks) Stale(network string, valid []state.Owner) bool {
	stale := state.Stale(network, valid)
	prefix := strings.Fields(state.TagPrefix(network))
	for _, tag := range m.tags[prefix[1]] {
		if stale(tag) {
			return true
		}
	}
	names := make(map[string]bool, 2*len(valid))
	for _, o := range valid {
		names[o.HostLink()], names[qdisc.IFB(o)] = true, true
	}
	for _, a := range m.grouped[state.Group(network)] { // those whose making was cut short have no tag
		if !names[a.Name] && (state.IsHostEnd(a, network) || qdisc.IsIFB(a)) {
			return true
		}
	}
	return false
}

// OrphanBridges are the bridges that fairway made, which have no port and are of no network: its file was removed by hand.
func (m Marks) OrphanBridges(ofNetwork func(bridge string) bool) (names []string) {
	ports := make(map[int]bool)
	for _, link := range m.all {
		ports[link.Attrs().MasterIndex] = true
	}
	for _, a := range m.grouped[state.BridgeGroup] {
		if (bridging.Bridge{Name: a.Name}).Made(m.links[a.Name]) && !ports[a.Index] && !ofNetwork(a.Name) {
			names = append(names, a.Name)
		}
	}
	return names
}

// HasLink says whether the host has a link of the name.
func (m Marks) HasLink(name string) bool {
	_, there := m.links[name]
	return there
}
