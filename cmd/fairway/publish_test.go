package main

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

func TestParsePort(t *testing.T) {
	const give = `give 1 to 65535, or two with '-' between them, the lower first`
	for _, tt := range []struct{ text, want string }{
		{"8080:80", "8080->80/tcp"},
		{"53:5353/UDP", "53->5353/udp"},
		{"127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"},
		{"[2001:db8::1]:8080:80/sctp", "[2001:db8::1]:8080->80/sctp"},
		{"8000-8099:9000-9099", "8000-8099->9000-9099/tcp"},
		{"80", "port 80: give [IP:]HOST:CONTAINER[/PROTOCOL], such as 8080:80"},
		{"80:80/icmp", `port 80:80/icmp: protocol "icmp": give tcp, udp or sctp`},
		{"0:80", `port 0:80: "0" is none: ` + give},
		{"80:65536", `port 80:65536: "65536" is none: ` + give},
		{"90-80:80-90", `port 90-80:80-90: "90-80" is none: ` + give},
		{"80-90:80", "port 80-90:80: the host's range has 11 ports and the container's 1: give as many"},
		{"host:80:80", `port host:80:80: address "host": give an address of the host, or leave it out for all`},
	} {
		p, err := parsePort(tt.text)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

// TestPublish: ports of a container that runs come and go by themselves, and with its network.
func TestPublish(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	s.network(t, "second", `[[{"subnet": "10.6.0.0/24"}]]`)
	web, db := testnet.NewNS(t, "web"), testnet.NewNS(t, "db")
	ref := "netns:" + web.Path
	s.succeed(t, "connect", "lamp", ref)
	s.succeed(t, "connect", "second", "netns:"+db.Path)
	published := func() int {
		return strings.Count(testnet.Sh(t, "nft", "list", "ruleset"), " : 10.5.0.2 . ") +
			strings.Count(testnet.Sh(t, "nft", "list", "ruleset"), " : fd05::2 . ")
	}
	s.succeed(t, "publish", ref, "8080:80", "5353:53/udp")
	s.succeed(t, "publish", "--from", "192.0.2.0/24", ref, "127.0.0.1:8443:443", "9000-9003:8000-8003")
	if got := published(); got != 2*2+1+2*4 {
		t.Errorf("%d elements", got)
	}
	id := attachedID(t, "lamp")
	s.fail(t, "fairway: port 8080/tcp is already published by container "+id+" of network lamp, in conflict with the configuration: "+
		"stop that one, or choose another port of the host", "publish", "netns:"+db.Path, "8080:80")
	s.succeed(t, "unpublish", ref, "8080:80")
	s.fail(t, "fairway: port 8080/tcp is not published by the container: absent from the host", "unpublish", ref, "8080:80")
	s.succeed(t, "publish", "netns:"+db.Path, "8080:80")
	s.succeed(t, "connect", "second", ref)
	s.fail(t, "fairway: container "+ref+" is on networks lamp, second: choose one with --network", "publish", ref, "8081:80")
	s.succeed(t, "publish", "--network", "second", ref, "8081:80")
	s.succeed(t, "disconnect", "lamp", ref)
	if got := published(); got != 0 {
		t.Errorf("%d elements after disconnect", got)
	}
}

// attachedID is the ID of the container on a network.
func attachedID(t *testing.T, network string) string {
	t.Helper()
	for _, a := range listed(t) {
		if a.Network == network {
			return a.ID
		}
	}
	t.Fatalf("nobody is on %s", network)
	return ""
}
