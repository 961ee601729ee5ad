package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/doctor"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestDoctor(t *testing.T) {
	s := newShell(t)
	s.network(t, "green", `[[{"subnet": "10.44.0.0/24"}]]`)
	web := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "green", "netns:"+web.Path)
	t.Cleanup(func() { s.succeed(t, "disconnect", "green", "netns:"+web.Path) })

	if got, want := s.succeed(t, "doctor", "--check", "mtu,forwarding"),
		"ok         forwarding  the host forwards what containers need\nok         mtu         every MTU fits the link it leads to\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	const healthy = `[
  {
    "check": "mtu",
    "level": "ok",
    "message": "every MTU fits the link it leads to"
  }
]
`
	if got := s.succeed(t, "doctor", "--check", "mtu", "--json"); got != healthy {
		t.Errorf("JSON: got\n%swant\n%s", got, healthy)
	}
	web.Sh(t, "ip", "link", "set", "eth0", "mtu", "1400")
	stdout, stderr, status := s.run("doctor", "--check", "mtu", "--json")
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil || status != 1 || stderr != "" {
		t.Fatalf("status %d, %v\n%s%s", status, err, stdout, stderr)
	}
	if len(findings) != 1 || findings[0].Check != "mtu" || findings[0].Level != doctor.Error || !strings.HasSuffix(findings[0].Command, " mtu 1400") {
		t.Errorf("findings: %+v", findings)
	}
}

// TestDoctorOfContainer: the way of a container's packets is followed by its name, and by that of its network.
func TestDoctorOfContainer(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "--subnet", "10.23.0.0/24", "-o", "com.docker.network.bridge.name=gray0", "gray")
	t.Cleanup(func() { s.succeed(t, "rm", "gray") })
	if _, stderr, status := s.run("doctor", "gray"); status != 1 || !strings.Contains(stderr, "gray has no container whose packets could be followed") {
		t.Errorf("without a container: status %d, %s", status, stderr)
	}
	web := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "gray", "netns:"+web.Path)
	t.Cleanup(func() { s.succeed(t, "disconnect", "gray", "netns:"+web.Path) })
	for _, of := range []string{"gray", "netns:" + web.Path} {
		// There is no way out of this host, and nobody answers names on it.
		if stdout, _, _ := s.run("doctor", of); !strings.Contains(stdout, "ok         neighbour  the container answers the host\n") || !strings.Contains(stdout, "\nok         firewall") {
			t.Errorf("of %s:\n%s", of, stdout)
		}
	}
	testnet.Sh(t, "ip", "link", "set", "gray0", "down")
	stdout, _, status := s.run("doctor", "gray")
	if status != 1 || !strings.HasSuffix(stdout, "error      bridge   bridge gray0 of network gray is down\n                    $ ip link set gray0 up && ip addr replace 10.23.0.1/24 dev gray0\n") {
		t.Errorf("bridge down: status %d\n%s", status, stdout)
	}
	if _, stderr, status := s.run("doctor", "nosuch"); status != 1 || !strings.Contains(stderr, "nosuch") {
		t.Errorf("of nobody: status %d, %s", status, stderr)
	}
	if _, stderr, status := s.run("doctor", "--check", "mtu", "gray"); status != 2 || !strings.Contains(stderr, "--check is for the whole host") {
		t.Errorf("with a check: status %d, %s", status, stderr)
	}
}

// A warning is no failure, and an unknown check is one of the command line.
func TestDoctorStatus(t *testing.T) {
	s := newShell(t)
	testnet.Sh(t, "ip", "link", "add", "left0", "type", "bridge")
	t.Cleanup(func() { testnet.Sh(t, "ip", "link", "del", "left0") })
	testnet.Sh(t, "ip", "link", "set", "left0", "alias", "fairway blue gone eth0")
	if got := s.succeed(t, "doctor", "--check", "leftovers"); !strings.HasPrefix(got, "warning    leftovers  link left0 is of no container on record (blue gone eth0)\n                      $ fairway gc\n") {
		t.Errorf("got %q", got)
	}
	if _, stderr, status := s.run("doctor", "--check", "typo"); status != 2 || !strings.Contains(stderr, `there is no check "typo": give one of netconf, `) {
		t.Errorf("an unknown check: status %d, %s", status, stderr)
	}
}
