package plugins

import (
	"slices"
	"strings"
	"sync"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
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

// TestTwoAddsAtOnce: of two ADDs with the same ID at the same moment, for namespaces in which processes run, one succeeds and has all of
// it, the address too, and the other has taken nothing of that and left nothing. So it is when both are for the same namespace.
func TestTwoAddsAtOnce(t *testing.T) {
	const rounds = 10
	for _, name := range []string{"bridge", "ptp", "overlay-vxlan"} {
		t.Run(name, func(t *testing.T) {
			one := everyAttaching()[name](t)
			other := one.withEnv("CNI_NETNS", testnet.NewNS(t, "other").Path)
			for _, a := range []attachment{one, other} {
				lives := (&testnet.Namespace{Path: a.env["CNI_NETNS"]}).Command("sleep", "600")
				if err := lives.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _, _ = lives.Process.Kill(), lives.Wait() })
			}
			for range rounds {
				atOnce(t, one, other)
				atOnce(t, one, one)
			}
		})
	}
}

// atOnce runs ADD for all at the same moment, of which one is to succeed, and its DEL.
func atOnce(t *testing.T, all ...attachment) {
	t.Helper()
	answers := make([]answer, len(all))
	var running sync.WaitGroup
	for i, a := range all {
		running.Go(func() { answers[i] = a.run(t, "ADD") })
	}
	running.Wait()
	winner := slices.IndexFunc(answers, func(a answer) bool { return a.code == 0 })
	if winner < 0 {
		t.Fatalf("none succeeded: %+v", answers)
	}
	for i, a := range all {
		has := links(t, &testnet.Namespace{Path: a.env["CNI_NETNS"]})
		switch {
		case i == winner:
			result := &types100.Result{}
			decodeOne(t, answers[i].stdout, result)
			a.after(result).succeed(t, "CHECK")
		case answers[i].code == 0 || !strings.Contains(answers[i].stdout, "exists already"):
			t.Fatalf("the other says %+v", answers[i])
		case len(has) != 1 && a.env["CNI_NETNS"] != all[winner].env["CNI_NETNS"]:
			t.Fatalf("the other has %v", has)
		}
	}
	all[winner].succeed(t, "DEL")
	if got := all[winner].reservations(t); len(got) > 0 {
		t.Fatalf("reserved after DEL: %v", got)
	}
}
