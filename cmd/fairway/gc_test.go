package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A network whose file was removed by hand leaves nothing that gc does not take, and its subnet is free again.
func TestGCOfNetworkWithoutFile(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "--subnet", "10.5.0.0/24", "hand")
	ns := testnet.NewNS(t, "c")
	s.succeed(t, "connect", "hand", "netns:"+ns.Path)
	s.succeed(t, "disconnect", "hand", "netns:"+ns.Path)
	files, err := filepath.Glob(filepath.Join(s.dir, "*hand*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if _, said, status := s.run("create", "--subnet", "10.5.0.0/24", "other"); status == 0 {
		t.Errorf("the subnet is free while the bridge has it: %s", said)
	}
	planned := s.succeed(t, "gc", "--dry-run")
	for _, want := range []string{"bridge br-", "directory of addresses"} {
		if !strings.Contains(planned, want) {
			t.Errorf("gc --dry-run: %q, want %s", planned, want)
		}
	}
	if done := s.succeed(t, "gc"); done != planned {
		t.Errorf("gc removed %q, planned was %q", done, planned)
	}
	if left := s.succeed(t, "gc", "--dry-run"); left != "" {
		t.Errorf("left: %q", left)
	}
	s.succeed(t, "create", "--subnet", "10.5.0.0/24", "hand")
}

// An address whose holder's namespace lives is kept, although no record and no link of ours tells of the holder: another plugin may have
// made the interface, and its runtime may keep its records anywhere. It goes when the namespace has ended.
func TestGCKeepsAddressesOfTheLiving(t *testing.T) {
	s := newShell(t)
	s.network(t, "hand", `[[{"subnet": "10.5.0.0/24"}]]`)
	ns, err := testnet.New("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := hostlocal.Parse([]byte(`{"cniVersion": "1.1.0", "name": "hand", "type": "other", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.5.0.0/24"}]]}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	mark, err := liveness.MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	foreign := hostlocal.Owner{ContainerID: "foreign", IfName: "net1"}
	if _, err := hostlocal.NewStore(conf).Add(t.Context(), foreign, hostlocal.Netns{Mark: mark.String(), Path: ns.Path}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"gc", "--dry-run"}, {"gc"}} {
		if said := s.succeed(t, args...); said != "" {
			t.Errorf("fairway %s while it lives: %q", strings.Join(args, " "), said)
		}
	}
	if _, err := os.Stat("/var/lib/cni/networks/hand/10.5.0.2"); err != nil {
		t.Error(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for end := time.Now().Add(time.Minute); said == "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		said = s.succeed(t, "gc") // the kernel ends a namespace some time after its last holder
	}
	if !strings.Contains(said, "address 10.5.0.2") {
		t.Errorf("gc after its end: %q", said)
	}
}

// TestGCBesideConnect: what is being attached or detached while somebody looks is no leftover.
func TestGCBesideConnect(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "--subnet", "10.5.0.0/24", "hand")
	ref := "netns:" + testnet.NewNS(t, "box").Path
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 {
			for _, verb := range []string{"connect", "disconnect"} {
				if _, stderr, status := s.run(verb, "hand", ref); status != 0 {
					t.Errorf("%s: %s", verb, stderr)
				}
			}
		}
	}()
	for {
		if planned := s.succeed(t, "gc", "--dry-run"); planned != "" {
			t.Errorf("gc --dry-run:\n%s", planned)
		}
		select {
		case <-ended:
			s.succeed(t, "rm", "hand")
			return
		default:
		}
	}
}

// TestGCDoesWhatItPlans: what is stale, and what no record tells of, is in both, and nothing else.
func TestGCDoesWhatItPlans(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "--subnet", "10.5.0.0/24", "hand")
	lives := testnet.NewNS(t, "lives")
	s.succeed(t, "connect", "hand", "netns:"+lives.Path)
	var gone []*testnet.Namespace
	for _, name := range []string{"recorded", "unrecorded"} {
		ns, err := testnet.New(name)
		if err != nil {
			t.Fatal(err)
		}
		s.succeed(t, "connect", "hand", "netns:"+ns.Path)
		gone = append(gone, ns)
	}
	testnet.Sh(t, "sh", "-c", "rm /var/lib/cni/results/hand-unrecorded-*")
	for _, ns := range gone {
		if err := ns.Close(); err != nil {
			t.Fatal(err)
		}
	}
	planned := s.succeed(t, "gc", "--dry-run")
	for _, want := range []string{" recorded ", " unrecorded "} {
		if !strings.Contains(planned, want) {
			t.Errorf("gc --dry-run: %q, want %s", planned, want)
		}
	}
	if strings.Contains(planned, "lives") {
		t.Errorf("gc --dry-run: %q, among which is who lives", planned)
	}
	if diff := cmp.Diff(planned, s.succeed(t, "gc")); diff != "" {
		t.Errorf("gc (-planned +done):\n%s", diff)
	}
	if left := s.succeed(t, "gc", "--dry-run"); left != "" {
		t.Errorf("left: %q", left)
	}
	s.succeed(t, "disconnect", "hand", "netns:"+lives.Path)
	s.succeed(t, "rm", "hand")
}
