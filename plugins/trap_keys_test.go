package plugins

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestDelOfUnreadableKeys: no key that was changed since ADD keeps DEL from removing what is there. An address is found where
// host-local keeps it by default, once its own key cannot tell.
func TestDelOfUnreadableKeys(t *testing.T) {
	for name, on := range everyAttaching() {
		for _, key := range []string{"ipam", "dns", "mtu", "prevResult", "runtimeConfig", "args", "bridge", "master", "peers", "cni.dev/valid-attachments"} {
			t.Run(name+" "+key, func(t *testing.T) {
				a := on(t)
				if _, has := a.conf["ipam"]; has && name != "overlay-vxlan" {
					a = a.withIPAM("dataDir", "/var/lib/cni/networks").with("name", "keys-"+name)
				}
				a.add(t)
				changed := a.with(key, "x")
				if key == "bridge" || key == "master" {
					changed = a.with(key, 5)
				}
				changed.succeed(t, "DEL")
				if links := links(t, &testnet.Namespace{Path: a.env["CNI_NETNS"]}); slices.ContainsFunc(links, func(l string) bool { return strings.HasPrefix(l, "eth0") }) {
					t.Errorf("left in the container: %v", links)
				}
				if held := a.reservations(t); len(held) > 0 && name != "overlay-vxlan" {
					t.Errorf("reserved still: %v", held)
				}
				changed.succeed(t, "DEL")
			})
		}
	}
}

// TestNamespaceOverride: a runtime may insist that a plugin's own namespace is the container's (CNI library, cni#890).
func TestNamespaceOverride(t *testing.T) {
	for name, on := range everyAttaching() {
		if name == "host-local" {
			continue // it has no part in namespaces
		}
		t.Run(name, func(t *testing.T) {
			a := on(t)
			a = a.withEnv("CNI_NETNS", a.host.Path).withEnv("CNI_IFNAME", "cont0")
			a.fail(t, "ADD", 8)
			a = a.withEnv("CNI_NETNS_OVERRIDE", "1")
			a = a.after(a.add(t))
			a.succeed(t, "CHECK")
			a.succeed(t, "DEL")
			if found := links(t, a.host); slices.ContainsFunc(found, func(l string) bool { return strings.Contains(l, "cont0") }) {
				t.Errorf("left: %v", found)
			}
			a.withEnv("CNI_NETNS_OVERRIDE", "TRUE").succeed(t, "DEL")
		})
	}
}
