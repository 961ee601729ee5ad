package attachment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestNear: of the records of many containers those are decoded that may be of the namespace, whoever wrote them and by whatever path, and
// those that have been left on the network.
func TestNear(t *testing.T) {
	r := Runtime{Cache: t.TempDir()}
	ours, other := testnet.NewNS(t, "near"), testnet.NewNS(t, "far")
	again := filepath.Join(t.TempDir(), "again") // another path to the same namespace
	if err := os.Symlink(ours.Path, again); err != nil {
		t.Fatal(err)
	}
	mark := func(path string) string {
		t.Helper()
		m, err := liveness.MarkAt(path)
		if err != nil {
			t.Fatal(err)
		}
		return m.String()
	}
	gone, err := testnet.New("gone")
	if err != nil {
		t.Fatal(err)
	}
	markOfGone := mark(gone.Path)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	write := func(network, id, netns, mark string) {
		t.Helper()
		f := record{Kind: libcni.CNICacheV1, ContainerID: id, Config: []byte(`{}`), IfName: "eth0", NetworkName: network, NetNS: netns}
		if mark != "" {
			f.CniArgs = [][2]string{{"IgnoreUnknown", "1"}, {argNetns, mark}}
		}
		content, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(r.Cache, resultsDir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, network+"-"+id+"-eth0"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lamp", "a", other.Path, "")                     // another's, of another runtime
	write("lamp", "b", other.Path, mark(other.Path))       // another's, of fairway's
	write("back", "c", again, "")                          // by another path
	write("back", "d", "/proc/1/nowhere", mark(ours.Path)) // by its mark
	write("lamp", "e", gone.Path, markOfGone)              // has gone
	write("back", "f", other.Path, markOfGone)             // likewise, on another network
	write("lamp", "g", other.Path, "")                     // the ID that is asked for
	for _, test := range []struct {
		network, id string
		want        string
	}{{"", "", "cd"}, {"lamp", "g", "cdeg"}, {"back", "x", "cdf"}} {
		all, _, err := r.near(ours.Path, test.network, test.id)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, a := range all {
			got[a.ID] = true
		}
		for _, id := range "abcdefg" {
			want := false
			for _, w := range test.want {
				want = want || w == id
			}
			if got[string(id)] != want {
				t.Errorf("network %q, ID %q: record %c: %v, want %v", test.network, test.id, id, got[string(id)], want)
			}
		}
	}
	if _, err := r.In("/nowhere"); err == nil {
		t.Error("a path to no namespace: no error")
	}
	if id, err := kernel.Identify(again); err != nil || id.Inode == 0 {
		t.Error(err)
	}
}
