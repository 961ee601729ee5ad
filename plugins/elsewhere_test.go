package plugins

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestAddOfOneThatLivesElsewhere: an ADD with the ID of a container that lives in another namespace takes nothing of it. Once no process
// runs there, the ID is that of a restarted container, whoever still holds the namespace.
func TestAddOfOneThatLivesElsewhere(t *testing.T) {
	for name, on := range everyAttaching() {
		if name != "bridge" && name != "ptp" && name != "overlay-vxlan" {
			continue // no veth by which the owner is known
		}
		t.Run(name, func(t *testing.T) {
			a := on(t)
			first := a.after(a.add(t))
			lives := (&testnet.Namespace{Path: a.env["CNI_NETNS"]}).Command("sleep", "600")
			if err := lives.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = lives.Process.Kill(), lives.Wait() })
			second := a.withEnv("CNI_NETNS", testnet.NewNS(t, "restarted").Path)
			before := a.traces(t)
			if got := second.fail(t, "ADD", 4); !strings.Contains(got, " exists already in another namespace, where a process runs (/proc/") {
				t.Error(got)
			}
			if diff := cmp.Diff(before, a.traces(t)); diff != "" {
				t.Errorf("taken (-before +after):\n%s", diff)
			}
			first.succeed(t, "CHECK")
			if err := lives.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = lives.Wait() // it was killed
			second.after(second.add(t)).succeed(t, "CHECK")
			second.succeed(t, "DEL")
		})
	}
}
