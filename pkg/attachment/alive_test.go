package attachment

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestAlive(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	ns.Sh(t, "ip", "link", "add", "eth0", "address", "02:00:00:00:00:07", "type", "bridge")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	process := startIn(t, ns)
	own, foreign := net.HardwareAddr{2, 0, 0, 0, 0, 7}, net.HardwareAddr{2, 0, 0, 0, 0, 8}
	for _, test := range []struct {
		name string
		a    Attachment
		want bool
	}{
		{"bound", Attachment{Netns: ns.Path, IfName: "eth0"}, true},
		{"bound, interface removed by the container", Attachment{Netns: ns.Path, IfName: "eth5"}, true},
		{"no path: it cannot be told", Attachment{}, true},
		{"gone", Attachment{Netns: "/run/netns/gone"}, false},
		{"what ip-netns leaves when it is killed", Attachment{Netns: file}, false},
		{"process", Attachment{Netns: process, IfName: "eth0", MAC: own}, true},
		{"process, renamed interface", Attachment{Netns: process, IfName: "eth5", MAC: own}, true},
		{"process, no MAC recorded", Attachment{Netns: process, IfName: "eth0"}, true},
		{"another process of the same number", Attachment{Netns: process, IfName: "eth0", MAC: foreign}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.a.Alive(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if !(Attachment{Netns: process}).In(ns.Path) {
		t.Error("the namespace of a process is another one than where it was started")
	}
	if (Attachment{Netns: process}).In("/proc/thread-self/ns/net") {
		t.Error("the namespace of a process is the one of this test")
	}
}

// startIn starts a process in a namespace and gives the path to its namespace.
func startIn(t *testing.T, ns *testnet.Namespace) string {
	t.Helper()
	cmd := exec.Command("nsenter", "--net="+ns.Path, "--", "cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	// An echo tells that it is inside.
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
}
