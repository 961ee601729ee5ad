package e2e

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/state/naming"
)

// traces is what a network's attachments have on the host.
type traces struct {
	// Ports are the owners of host ends of veths: their aliases.
	Ports []string
	// Elements are the owners of nftables elements: their comments, without repetition.
	Elements []string
	// Addresses are the reservations of host-local.
	Addresses []string
	// Names are the containers that have a record of names.
	Names []string
}

// tracesOf looks for all that carries the name of a network.
func tracesOf(t *testing.T, network string) traces {
	t.Helper()
	return traces{
		Ports:     ports(t, network),
		Elements:  elements(t, network),
		Addresses: reservations(t, network),
		Names:     recorded(t, network),
	}
}

// wantNothing expects that no attachment of a network has left anything.
func wantNothing(t *testing.T, network string) {
	t.Helper()
	if diff := cmp.Diff(traces{}, tracesOf(t, network)); diff != "" {
		t.Errorf("left over of network %s (-want +got):\n%s", network, diff)
	}
}

// ports also lists veths without an owner, under their own names: the plugin that made them was cut short.
func ports(t *testing.T, network string) []string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		attrs := link.Attrs()
		switch {
		case strings.HasPrefix(attrs.Alias, "fairway "+network+" "):
			found = append(found, attrs.Alias)
		case link.Type() == "veth" && attrs.Alias == "" && attrs.Name != "uplink" && attrs.Name != "lan0":
			found = append(found, attrs.Name)
		}
	}
	slices.Sort(found)
	return found
}

func elements(t *testing.T, network string) []string {
	t.Helper()
	ruleset := succeed(t, command(t, "nft", "list", "ruleset"))
	owned := regexp.MustCompile(`"(fairway ` + regexp.QuoteMeta(network) + ` [^"]+)"`)
	var found []string
	for _, match := range owned.FindAllStringSubmatch(ruleset, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// reservations are the files that are named after an address; beside them lie the lock and the last address of each range.
func reservations(t *testing.T, network string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(leaseDir, network))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if _, err := netip.ParseAddr(entry.Name()); err == nil {
			found = append(found, entry.Name())
		}
	}
	slices.Sort(found)
	return found
}

// recorded lists the containers that have a record of names.
func recorded(t *testing.T, network string) (ids []string) {
	t.Helper()
	all, err := naming.Records()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Owner.Network == network {
			ids = append(ids, r.Owner.ContainerID)
		}
	}
	return ids
}
