package main

import (
	"fmt"
	"strings"
)

// Case is something a runtime asks for, measured for both suites under the same conditions.
type Case struct {
	Name string
	// Plugin is the configuration of the network's only plugin, or of several with commas between. $DATA stands for the data directory of host-local,
	// $LOOPBACK for the name under which a suite offers loopback, and $PEERS for a file of the hosts of an overlay network.
	Plugin string
	// Peers is the number of other hosts in that file. With Agent, it is as an agent writes it: this host's part, and the others in a file
	// beside, which is read as long as the kernel does not have them.
	Peers int
	Agent bool
	// Encrypted has the benchmark be the node agent that keeps the tunnel of that network.
	Encrypted bool
	// Reserved is the number of addresses that others hold on disk already.
	Reserved int
	// Present is the number of containers that are attached already, by the plugin that is measured.
	Present int
	// Ports is the number of ports that each container publishes, Published of those that others have published already.
	Ports, Published int
	// InFlight is the number of attachments at the same time. The samples of more than one are attachments per second;
	// those of zero and one are milliseconds.
	InFlight int
	// Rounds bounds the number of samples where one takes long. Zero: no bound.
	Rounds int
	// Add and Del are the goals for the ratio of the medians, fairway to upstream.
	Add, Del Goal
}

// Growth compares two cases: what the work of Over costs more than that of Base, for each suite by itself.
type Growth struct {
	Name, Base, Over string
	// Add is the goal for fairway's own growth.
	Add Goal
}

const (
	v4 = "10.0.0.0/14"
	v6 = "fd00:cafe::/64"

	masquerade = `"ipMasq": true`
	nftBackend = `"ipMasq": true, "ipMasqBackend": "nftables"`

	onePresent  = "masquerade, 1 container present"
	manyPresent = "masquerade, 500 containers present"
)

// cases is the table of the benchmark, in the order in which it is run. A new mode joins with its rows here.
func cases() []Case {
	return []Case{
		{Name: "loopback", Plugin: `{"type": "$LOOPBACK"}`},
		{Name: "host-local, empty", Plugin: hostLocal()},
		{Name: "host-local, 1k reservations", Plugin: hostLocal(), Reserved: 1_000},
		{Name: "host-local, 10k reservations", Plugin: hostLocal(), Reserved: 10_000, Add: atMost(0.06), Del: atMost(0.06)},
		{Name: "host-local, 50k reservations", Plugin: hostLocal(), Reserved: 50_000, Rounds: 10,
			Add: atMost(0.015), Del: atMost(0.015)},
		{Name: "bridge", Plugin: bridge("", v4), Add: atMost(0.35), Del: atMost(0.20)},
		{Name: "bridge, dual stack", Plugin: bridge("", v4, v6)},
		{Name: "bridge, masquerade", Plugin: bridge(masquerade, v4), Add: atMost(0.18), Del: atMost(0.07)},
		{Name: "bridge, masquerade (nftables)", Plugin: bridge(nftBackend, v4)},
		{Name: "masquerade, 50 in flight", Plugin: bridge(masquerade, v4), InFlight: 50, Rounds: 5, Add: atLeast(8), Del: atLeast(20)},
		{Name: "macvlan", Plugin: macvlan(v4), Add: atMost(0.40), Del: atMost(0.25)},
		{Name: "macvlan, dual stack", Plugin: macvlan(v4, v6), Rounds: 5, Add: atMost(0.005)},
		nerdctlCase(),
		{Name: onePresent, Plugin: bridge(masquerade, v4), Present: 1, Rounds: 10},
		{Name: manyPresent, Plugin: bridge(masquerade, v4), Present: 500, Rounds: 10},
	}
}

func growths() []Growth {
	return []Growth{{Name: "500 containers present, against 1", Base: onePresent, Over: manyPresent, Add: atMost(1.5)}}
}

// hostLocal is the IPAM plugin alone, asked by the runtime itself.
func hostLocal() string {
	return fmt.Sprintf(`{"type": "host-local", "ipam": %s}`, ipam(v4))
}

// bridge is the gateway of its containers, as in the conflists of nerdctl, podman and the kubelet's guides.
func bridge(keys string, subnets ...string) string {
	if keys != "" {
		keys += ", "
	}
	return fmt.Sprintf(`{"type": "bridge", "bridge": "br0", "isDefaultGateway": true, %s"ipam": %s}`, keys, ipam(subnets...))
}

// macvlan lies on the interface of the default route.
func macvlan(subnets ...string) string {
	return fmt.Sprintf(`{"type": "macvlan", "ipam": %s}`, ipam(subnets...))
}

func ipam(subnets ...string) string {
	ranges := make([]string, len(subnets))
	for i, subnet := range subnets {
		ranges[i] = fmt.Sprintf(`[{"subnet": %q}]`, subnet)
	}
	return fmt.Sprintf(`{"type": "host-local", "dataDir": "$DATA", "ranges": [%s]}`, strings.Join(ranges, ", "))
}
