package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// drawnOption is an option of a driver with a value that may suit it or not. linkInContainer is left out: whether the master is there depends on
// the container.
func drawnOption(random *rand.Rand, driver string) string {
	values := []string{"", "0", "1", "-1", "10", "5000", "true", "false", "foo", "zz", "a%d", "a/b", "1400", "70000", `[{"id": 5}]`, `[1]`, "{}"}
	keys := map[string][]string{
		"bridge": {"bridge", "com.docker.network.bridge.name", "vlan", "vlanTrunk", "preserveDefaultVlan", "ipMasqBackend", "mtu", "com.docker.network.driver.mtu",
			"hairpinMode", "promiscMode", "macspoofchk", "isolated", "enabledad", "portIsolation", "ipMasq", "com.docker.network.bridge.gateway_mode_ipv4"},
		"macvlan": {"macvlan_mode", "mtu", "bcqueuelen", "hostAccess", "com.docker.network.driver.mtu"},
	}[driver]
	return keys[random.IntN(len(keys))] + "=" + values[random.IntN(len(values))]
}

// TestConfigOnlyIsWhatCreateTakes: a configuration is kept when, and only when, a network can be made of what it says.
func TestConfigOnlyIsWhatCreateTakes(t *testing.T) {
	s := newShell(t)
	testnet.Sh(t, "ip", "link", "add", "parent0", "up", "type", "veth", "peer", "name", "far0")
	testnet.Sh(t, "ip", "link", "set", "far0", "up")
	t.Cleanup(func() { testnet.Sh(t, "ip", "link", "del", "parent0") })
	random := rand.New(rand.NewPCG(9, 9))
	kept := 0
	for i := range 80 {
		args := []string{"--subnet", fmt.Sprintf("10.5.%d.0/%d", i, []int{24, 24, 30, 31, 32}[random.IntN(5)])}
		driver := []string{"bridge", "macvlan"}[i%2]
		if driver == "macvlan" {
			args = append(args, "-o", "parent="+[]string{"parent0", "parent0.4095", "none0"}[random.IntN(3)])
		}
		for range random.IntN(4) {
			args = append(args, "-o", drawnOption(random, []string{driver, driver, driver, "bridge"}[random.IntN(4)]))
		}
		if random.IntN(8) == 0 {
			args = append(args, "-o", "bogus=1")
		}
		made := false
		for _, driver := range []string{"bridge", "macvlan"} {
			if _, _, status := s.run(append(append([]string{"create", "-d", driver}, args...), "net")...); status == 0 {
				made = true
				s.succeed(t, "rm", "net")
			}
		}
		_, said, status := s.run(append(append([]string{"create", "--config-only"}, args...), "conf")...)
		if (status == 0) != made {
			t.Errorf("create %s: a network can be made: %v; as a configuration: status %d: %s", strings.Join(args, " "), made, status, said)
		}
		if status == 0 {
			kept++
			s.succeed(t, "rm", "conf")
		}
	}
	if kept < 10 || kept > 70 {
		t.Errorf("%d of 80 configurations were kept: the values say little", kept)
	}
}

// TestWhatCreateAccepts: a network that create makes takes a container, whatever options were drawn; one that no ADD would serve is
// refused by create, with the plugin's own sentence.
func TestWhatCreateAccepts(t *testing.T) {
	s := newShell(t)
	testnet.Sh(t, "ip", "link", "add", "parent0", "up", "type", "veth", "peer", "name", "far0")
	testnet.Sh(t, "ip", "link", "set", "far0", "up")
	t.Cleanup(func() { testnet.Sh(t, "ip", "link", "del", "parent0") })
	random := rand.New(rand.NewPCG(7, 7))
	made := 0
	for i := range 150 {
		driver := []string{"bridge", "macvlan"}[i%2]
		subnet := fmt.Sprintf("10.5.%d.0/%d", i, []int{24, 24, 30, 31, 32}[random.IntN(5)])
		args := []string{"create", "-d", driver, "--subnet", subnet}
		if driver == "macvlan" {
			args = append(args, "-o", "parent="+[]string{"parent0", "parent0", "parent0.0", "parent0.4095", "none0"}[random.IntN(5)])
		}
		for range random.IntN(3) {
			args = append(args, "-o", drawnOption(random, driver))
		}
		name := fmt.Sprint("drawn", i)
		if _, _, status := s.run(append(args, name)...); status != 0 {
			continue
		}
		made++
		func() {
			ns, err := testnet.New(name)
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			if _, said, status := s.run("connect", name, "netns:"+ns.Path); status != 0 {
				t.Errorf("fairway %s was accepted: connect: %s", strings.Join(args, " "), said)
			} else if _, said, status := s.run("disconnect", name, "netns:"+ns.Path); status != 0 {
				t.Errorf("disconnect: %s", said)
			}
		}()
		if _, said, status := s.run("rm", name); status != 0 {
			t.Errorf("rm: %s", said)
		}
	}
	if made < 20 || made > 130 {
		t.Errorf("%d of 150 networks were made: the values say little", made)
	}
}
