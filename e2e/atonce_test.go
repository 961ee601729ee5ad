package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

var atOnceTime = flag.Duration("at-once", 8*time.Second, "how long TestCommandsAtOnce goes on")

// TestCommandsAtOnce: networks come and go while containers are attached, detached and collected. Whether a single command succeeds is
// a matter of luck; afterwards nobody is on a network that has gone, and nothing of such a network is left.
func TestCommandsAtOnce(t *testing.T) {
	subnets := map[string]string{"lamp": "10.78.0.0/24", "back": "10.79.0.0/24"}
	bridges := map[string]string{"lamp": "br-c98e85f24900", "back": "br-3c482346f375"}
	boxes := []string{"netns:" + testnet.NewNS(t, "a").Path, "netns:" + testnet.NewNS(t, "b").Path}
	turns := [][][]string{
		{{"create", "--subnet", subnets["lamp"], "lamp"}, {"create", "--subnet", subnets["back"], "back"}},
		{{"run", "--network", "lamp", "--network", "back", "true"}},
		{{"run", "--network", "back", "--name", "web", "true"}, {"run", "--network", "lamp", "--name", "web", "sleep", "0.1"}},
		{{"connect", "lamp", boxes[0]}, {"connect", "back", boxes[0]}, {"disconnect", "lamp", boxes[0]}, {"disconnect", "back", boxes[0]}},
		{{"connect", "back", boxes[1]}, {"disconnect", "back", boxes[1]}},
		{{"rm", "lamp"}, {"prune", "-f"}, {"gc"}},
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	succeeded := map[string]int{}
	end := time.Now().Add(*atOnceTime)
	for _, turn := range turns {
		group.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				args := turn[i%len(turn)]
				if _, _, err := run(fairway(t, args...)); err == nil {
					mu.Lock()
					succeeded[args[0]]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	t.Logf("succeeded: %v", succeeded)
	for name := range subnets {
		if len(glob(filepath.Join(confDir, "*"+name+".conflist"))) > 0 {
			continue
		}
		wantNothing(t, name)
		for _, pattern := range []string{"/var/lib/cni/results/" + name + "-*", filepath.Join(leaseDir, name), "/sys/class/net/" + bridges[name]} {
			if left := glob(pattern); len(left) > 0 {
				t.Errorf("network %s has gone, and there is %v", name, left)
			}
		}
	}
	for name := range subnets {
		for _, box := range boxes {
			_, stderr, err := run(fairway(t, "disconnect", name, box))
			if err != nil && !strings.Contains(stderr, "is not connected") && !strings.Contains(stderr, "not found") {
				t.Errorf("disconnect %s %s: %v, %s", name, box, err, stderr)
			}
		}
		wantNothing(t, name)
		succeed(t, fairway(t, "rm", "-f", name))
		for _, pattern := range []string{"/var/lib/cni/results/" + name + "-*", filepath.Join(leaseDir, name), "/sys/class/net/" + bridges[name]} {
			if left := glob(pattern); len(left) > 0 {
				t.Errorf("network %s was removed, and there is %v", name, left)
			}
		}
	}
	succeed(t, fairway(t, "gc"))
	for _, dir := range []string{"attaching", "containers"} {
		if left, err := os.ReadDir(filepath.Join("/var/lib/cni/fairway", dir)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}
