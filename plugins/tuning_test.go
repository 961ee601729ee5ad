package plugins

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestTuning: any settings together are made, found by CHECK, missed by CHECK once they are lost, and taken back by DEL.
func TestTuning(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 12 {
		keys := map[string]any{}
		for key, value := range map[string]any{
			"mac": "02:00:00:00:00:99", "mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77,
			"sysctl": map[string]string{"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv4/tcp_rmem": "4096 87380 5000000"},
		} {
			if random.IntN(2) == 0 {
				keys[key] = value
			}
		}
		t.Run(fmt.Sprint(i, " of ", len(keys)), func(t *testing.T) {
			container, dir := testnet.NewNS(t, "c"), t.TempDir()
			a := bridgeOn(t, container)
			result := a.add(t)
			tuning := a.behind(result, "tuning", keys).with("dataDir", dir)
			tuned := tuning.after(tuning.add(t))
			tuned.succeed(t, "CHECK")
			a.after(tuning.add(t)).succeed(t, "CHECK")
			for key, lose := range map[string][]string{
				"mac": {"address", "02:00:00:00:00:11"}, "mtu": {"mtu", "1280"}, "promisc": {"promisc", "off"},
				"allmulti": {"allmulticast", "off"}, "txQLen": {"txqueuelen", "5"},
			} {
				if keys[key] == nil {
					continue
				}
				container.Sh(t, "ip", append([]string{"link", "set", "eth0"}, lose...)...)
				if got := tuned.fail(t, "CHECK", 100); !strings.Contains(got, "eth0 has "+lose[0]+" ") {
					t.Errorf("CHECK says %q", got)
				}
				tuning.add(t)
			}
			a.succeed(t, "DEL")
			tuned.withEnv("CNI_NETNS", "").succeed(t, "DEL")
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("records left: %v", left)
			}
		})
	}
}

// TestTuningIsTakenBack: DEL sets what the interface had before, whatever the keys say by then.
func TestTuningIsTakenBack(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	result := a.add(t)
	before := container.Sh(t, "ip", "-d", "link", "show", "eth0")
	tuning := a.behind(result, "tuning", map[string]any{
		"mac": "02:00:00:00:00:99", "mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77,
	}).with("dataDir", t.TempDir())
	got := tuning.add(t)
	if i := got.Interfaces[2]; i.Mac != "02:00:00:00:00:99" || i.Mtu != 1300 {
		t.Errorf("interface in the result: %+v", i)
	}
	tuning.with("mac", nil).with("mtu", 1200).with("promisc", nil).succeed(t, "DEL")
	if diff := cmp.Diff(before, container.Sh(t, "ip", "-d", "link", "show", "eth0")); diff != "" {
		t.Errorf("interface (-before +after):\n%s", diff)
	}
}

// TestTuningFailsWhole: what the interface had before it has after an ADD that fails.
func TestTuningFailsWhole(t *testing.T) {
	container, dir := testnet.NewNS(t, "c"), t.TempDir()
	a := bridgeOn(t, container)
	result := a.add(t)
	before := container.Sh(t, "ip", "-d", "link", "show", "eth0")
	tuning := a.behind(result, "tuning", map[string]any{"mac": "02:00:00:00:00:99", "mtu": 1 << 20}).with("dataDir", dir)
	if got := tuning.fail(t, "ADD", 7); !strings.Contains(got, "ip link set eth0 mtu 1048576: in conflict with the configuration") {
		t.Errorf("ADD says %q", got)
	}
	if diff := cmp.Diff(before, container.Sh(t, "ip", "-d", "link", "show", "eth0")); diff != "" {
		t.Errorf("interface (-before +after):\n%s", diff)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("records left: %v", left)
	}
}

// TestTuningAllowList: only what a line of the administrator's file matches is set.
func TestTuningAllowList(t *testing.T) {
	const list = "/etc/cni/tuning/allowlist.conf"
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	tuning := a.behind(a.add(t), "tuning", map[string]any{"sysctl": map[string]string{"net.ipv4.conf.all.log_martians": "1"}})
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(list) })
	for _, tt := range []struct{ lines, want string }{
		{"^net.ipv4.conf.eth[0-9]*.\n\n^net.core\n", "sysctl net.ipv4.conf.all.log_martians matches no line of " + list +
			", in conflict with the configuration: remove it, or let the administrator allow it"},
		{"(\n", list + ": in conflict with the configuration: correct the regular expression: " +
			"error parsing regexp: missing closing ): `(`"},
	} {
		if err := os.WriteFile(list, []byte(tt.lines), 0o644); err != nil {
			t.Fatal(err)
		}
		wantText(t, "sentence", tt.want, tuning.fail(t, "ADD", 7))
	}
	if err := os.WriteFile(list, []byte("  ^net.ipv4.conf.all.log_\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tuning.add(t)
}

// TestTuningRecordsGo with their containers: GC drops those of its own network.
func TestTuningRecordsGo(t *testing.T) {
	dir := t.TempDir()
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	b := a.on(testnet.NewNS(t, "d"), "eth0")
	other := a.with("name", "other").with("bridge", "br1").on(testnet.NewNS(t, "e"), "eth0")
	for _, x := range []attachment{a, b, other} {
		x.behind(x.add(t), "tuning", map[string]any{"mtu": 1300, "dataDir": dir}).add(t)
	}
	gc := a.behind(nil, "tuning", map[string]any{"dataDir": dir}).gcCall()
	gc.succeed(t, "GC")
	gc.with("cni.dev/valid-attachments", alive("d")).succeed(t, "GC")
	left, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{dir + "/d_eth0.json", dir + "/e_eth0.json"}, left); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestTuningForUpstream: each suite takes back what the other has tuned.
func TestTuningForUpstream(t *testing.T) {
	for _, theirsFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("theirs first ", theirsFirst), func(t *testing.T) {
			container := testnet.NewNS(t, "c")
			a := bridgeOn(t, container).with("cniVersion", "1.0.0")
			result := a.add(t)
			before := container.Sh(t, "ip", "-d", "link", "show", "eth0")
			ours := a.behind(result, "tuning", map[string]any{"mac": "02:00:00:00:00:99", "mtu": 1300, "dataDir": t.TempDir()})
			theirs := ours
			theirs.plugin = upstream(t, "tuning")
			first, second := ours, theirs
			if theirsFirst {
				first, second = theirs, ours
			}
			first.after(first.add(t)).succeed(t, "CHECK")
			second.succeed(t, "DEL")
			if diff := cmp.Diff(before, container.Sh(t, "ip", "-d", "link", "show", "eth0")); diff != "" {
				t.Errorf("interface (-before +after):\n%s", diff)
			}
		})
	}
}
