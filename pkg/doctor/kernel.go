package doctor

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// feature is something of the kernel that networks need.
type feature struct {
	name   string // as a person says it
	option string // of the kernel's configuration
	needed func(topology.Network) bool
	// modules has all that trying it would load.
	modules []string
	try     func() error
}

// checkKernel tries the features that the host's networks need. A module that is there and not loaded is left alone: the first
// container loads it.
func checkKernel(_ context.Context, h *Host) ([]Finding, error) {
	modules := installedModules("/")
	findings := ageOf(release())
	for _, f := range features() {
		users := f.users(h)
		if len(users) == 0 {
			continue
		}
		loadable, known := modules.loadable(f.modules)
		switch {
		case loadable:
		case !known:
			findings = append(findings, warningf("whether the kernel has %s (%s), which %s %s, cannot be told without loading modules", f.name, f.option,
				some(users), plural(len(users), "needs", "need")).command("modprobe %s", strings.Join(f.modules, " ")))
		default:
			if err := inFreshNamespace(f.try); err != nil {
				findings = append(findings, errorf("the kernel has no %s (%v), which %s %s", f.name, err, some(users), plural(len(users), "needs", "need")).
					remedy("use a kernel with %s", f.option))
			}
		}
	}
	return findings, nil
}

// OldestKernel is the oldest one that the tests run on: its major and its minor number. scripts/test-kernels boots it.
var OldestKernel = [2]int{6, 1}

// ageOf says that a kernel is older than any that the tests run on.
func ageOf(release string) []Finding {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return []Finding{warningf("the kernel's release %q does not say how old it is", release)}
	}
	if oldest := OldestKernel; major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return []Finding{warningf("the kernel is %s, older than any that fairway is tested on (from %d.%d on)", release, oldest[0], oldest[1]).
			remedy("use a newer kernel")}
	}
	return nil
}

func features() []feature {
	bridge, overlay, macvlan := ofType("bridge"), ofType("overlay-vxlan"), ofType("macvlan")
	return []feature{
		{"bridges", "CONFIG_BRIDGE", bridge, []string{"bridge"}, tryLink(&netlink.Bridge{})},
		{"veth pairs", "CONFIG_VETH", either(bridge, overlay), []string{"veth"}, tryLink(&netlink.Veth{PeerName: "try1"})},
		{"macvlan links", "CONFIG_MACVLAN", macvlan, []string{"macvlan", "veth"},
			tryOnVeth(&netlink.Macvlan{Mode: netlink.MACVLAN_MODE_BRIDGE})},
		{"VLANs", "CONFIG_VLAN_8021Q", func(n topology.Network) bool { return macvlan(n) && strings.Contains(n.Link, ".") },
			[]string{"8021q", "veth"}, tryOnVeth(&netlink.Vlan{VlanId: 10})},
		{"VXLAN", "CONFIG_VXLAN", overlay, []string{"vxlan"}, tryLink(&netlink.Vxlan{VxlanId: 1, Port: 4789})},
		{"masquerading by nftables", "CONFIG_NF_TABLES, CONFIG_NF_NAT and CONFIG_NFT_MASQ", marked(topology.Masquerade),
			[]string{"nf_tables", "nf_nat", "nft_chain_nat", "nft_masq"}, tryMasquerade},
		{"filtering by nftables", "CONFIG_NF_TABLES", either(overlay, marked(topology.Internal), marked(topology.Isolated)),
			[]string{"nf_tables"}, tryFilter},
	}
}

func ofType(plugin string) func(topology.Network) bool {
	return func(n topology.Network) bool { return n.Type == plugin }
}

func marked(mark string) func(topology.Network) bool {
	return func(n topology.Network) bool { return slices.Contains(n.Marks, mark) }
}

func either(conditions ...func(topology.Network) bool) func(topology.Network) bool {
	return func(n topology.Network) bool {
		return slices.ContainsFunc(conditions, func(holds func(topology.Network) bool) bool { return holds(n) })
	}
}

// users are the networks that need the feature.
func (f feature) users(h *Host) []string {
	var users []string
	for _, n := range h.described {
		if f.needed(n) {
			users = append(users, n.Name)
		}
	}
	return users
}

// inFreshNamespace runs f on a thread in a network namespace of its own. Both end with it, so that nothing is left.
func inFreshNamespace(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("unshare --net: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// tryLink makes a link.
func tryLink(link netlink.Link) func() error {
	return func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer handle.Close()
		link.Attrs().Name, link.Attrs().TxQLen = "try0", -1
		return handle.LinkAdd(link)
	}
}

// tryOnVeth makes a link on another one, for which an end of a veth serves.
func tryOnVeth(link netlink.Link) func() error {
	return func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer handle.Close()
		below := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "below0", TxQLen: -1}, PeerName: "below1"}
		if err := handle.LinkAdd(below); err != nil {
			return err
		}
		parent, err := handle.LinkByName("below0")
		if err != nil {
			return err
		}
		link.Attrs().ParentIndex = parent.Attrs().Index
		return tryLink(link)()
	}
}

// tryMasquerade adds a chain of type nat with a rule that masquerades.
func tryMasquerade() error {
	return tryChain(&nftables.Chain{
		Name: "try", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	}, &expr.Masq{})
}

// tryFilter adds a chain that filters what is forwarded.
func tryFilter() error {
	return tryChain(&nftables.Chain{
		Name: "try", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	}, &expr.Verdict{Kind: expr.VerdictAccept})
}

func tryChain(chain *nftables.Chain, rule expr.Any) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	chain.Table = conn.AddTable(&nftables.Table{Name: "try", Family: nftables.TableFamilyINet})
	conn.AddChain(chain)
	conn.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: []expr.Any{rule}})
	return conn.Flush()
}
