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
