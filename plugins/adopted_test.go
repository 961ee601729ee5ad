package plugins

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestAdoptedBridgeReported: the result has the MAC that the bridge has, from the first container to the last; they reach their
// gateway all along.
func TestAdoptedBridgeReported(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c0"))
	a.host.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	mac := func() string { return strings.Fields(a.host.Sh(t, "ip", "-br", "link", "show", "br0"))[2] }
	var containers []attachment
	var want string
	for i := range 4 {
		b := a.on(testnet.NewNS(t, fmt.Sprintf("c%d", i+1)), "eth0")
		reported := b.add(t).Interfaces[0].Mac
		if i == 0 {
			want = reported
		}
		if reported != want || mac() != want {
			t.Errorf("container %d: reported %s, has %s, want %s", i, reported, mac(), want)
		}
		containers = append(containers, b)
	}
	for i, b := range containers {
		for _, other := range containers[i:] {
			reaches(t, &testnet.Namespace{Path: other.env["CNI_NETNS"]}, "10.1.0.1")
		}
		b.succeed(t, "DEL")
		if got := mac(); got != want {
			t.Errorf("after DEL of container %d: %s, want %s", i, got, want)
		}
	}
}

// TestGatewayIsNoContainers: an IPAM plugin gives the container the address that the bridge would have.
func TestGatewayIsNoContainers(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	before := a.traces(t)
	for _, answer := range []string{
		`{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.1/24"}]}`,
		`{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.9/24", "gateway": "10.7.0.9"}]}`,
	} {
		d.answer(t, "ADD", answer)
		if said := a.fail(t, "ADD", 7); !strings.Contains(said, "is also its gateway's, which br0 is to have") {
			t.Errorf("sentence: %s", said)
		}
		a.wantUnchanged(t, before)
	}
}
