package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
