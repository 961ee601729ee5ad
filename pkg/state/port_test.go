package state_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A bridge has 1023 ports at most (BR_MAX_PORTS). The container that finds none left has nothing of the attempt.
func TestVethOnAFullBridge(t *testing.T) {
	k, container := statetest.NewPair(t)
	var batch strings.Builder
	fmt.Fprintln(&batch, "link add br0 type bridge")
	for i := range 512 {
		fmt.Fprintf(&batch, "link add a%d type veth peer name b%d\nlink set a%d master br0\n", i, i, i)
		if i > 0 {
			fmt.Fprintf(&batch, "link set b%d master br0\n", i)
		}
	}
	fill := exec.Command("ip", "-batch", "-")
	fill.Stdin = strings.NewReader(batch.String())
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v := state.Veth{Owner: statetest.Owner("c"), MAC: statetest.Owner("c").MAC(), Bridge: "br0"}
	_, err := v.Ensure(k)
	statetest.Fails(t, err, state.ErrFull, "bridge br0 has 1023 ports, as many as a bridge can have: remove a container, or use another bridge")
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), v.Owner.HostLink())

	testnet.Sh(t, "ip", "link", "set", "a7", "nomaster")
	statetest.Ensure(t, statetest.Open(t, container), v, true)
	statetest.Verifies(t, container, v)
}

// A bridge that went a moment ago may come back: trying again may help.
func TestVethOnABridgeThatVanishes(t *testing.T) {
	k, container := statetest.NewPair(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	if _, err := k.Host.Link("br0"); err != nil {
		t.Fatal(err)
	}
	testnet.Sh(t, "ip", "link", "del", "br0")
	v := state.Veth{Owner: statetest.Owner("c"), MAC: statetest.Owner("c").MAC(), Bridge: "br0"}
	_, err := v.Ensure(k)
	statetest.Fails(t, err, state.ErrVanished, v.Owner.HostLink())
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
}
