package ruleset

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// ForeignChain is a base chain of somebody else, usually a firewall's. An accept of fairway's cannot override what it drops.
type ForeignChain struct {
	// Table is the table with its family, as nft names it: "ip filter".
	Table, Chain string

	firewall firewall
	comes    bool // its packets have a link that they come by
	goes     bool // its packets have a link that they go by
}

// Foreign is a base chain as it stands among all chains.
func Foreign(c *nftables.Chain, all []*nftables.Chain) ForeignChain {
	f := ForeignChain{Table: nftable.TableName(c.Table), Chain: c.Name, firewall: firewallOf(c, all), comes: true, goes: true}
	if c.Hooknum != nil {
		f.goes = *c.Hooknum != *nftables.ChainHookPrerouting && *c.Hooknum != *nftables.ChainHookInput
		f.comes = *c.Hooknum != *nftables.ChainHookOutput && *c.Hooknum != *nftables.ChainHookPostrouting
	}
	return f
}

// firewall is what the chain belongs to, as far as its neighbours tell.
type firewall int

const (
	ofNft firewall = iota
	ofIptables
	ofDocker // which leaves chain DOCKER-USER to the administrator
	ofUfw
	ofFirewalld
)

func (d ForeignChain) String() string { return d.Table + " " + d.Chain }

// Remedy is the command by which an administrator allows what comes from a link and goes to it.
func (d ForeignChain) Remedy(link string) string {
	switch d.firewall {
	case ofDocker:
		return d.both(d.iptables("")+" -I DOCKER-USER -i %s -j ACCEPT", d.iptables("")+" -I DOCKER-USER -o %s -j ACCEPT", link)
	case ofUfw:
		return d.both("ufw route allow in on %s", "ufw route allow out on %s", link)
	case ofFirewalld:
		return fmt.Sprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s && firewall-cmd --reload", link)
	case ofIptables:
		_, table, _ := strings.Cut(d.Table, " ")
		insert := d.iptables(table) + " -I " + d.Chain
		return d.both(insert+" -i %s -j ACCEPT", insert+" -o %s -j ACCEPT", link)
	}
	return d.both(d.insert()+"iifname %s accept", d.insert()+"oifname %s accept", link)
}

func (d ForeignChain) insert() string { return fmt.Sprintf("nft insert rule %s %s ", d.Table, d.Chain) }

// RemedyWithin is Remedy for a chain of a bridge, which knows the bridge's ports: it lets pass what comes from a subnet and goes to it.
func (d ForeignChain) RemedyWithin(subnet netip.Prefix) string {
	family := "ip"
	if subnet.Addr().Is6() {
		family = "ip6"
	}
	return fmt.Sprintf("%s%s saddr %s accept && %s%s daddr %s accept", d.insert(), family, subnet, d.insert(), family, subnet)
}

// both joins commands for what comes from a link and what goes to it, as far as the chain knows.
func (d ForeignChain) both(in, out, link string) string {
	var commands []string
	if d.comes {
		commands = append(commands, fmt.Sprintf(in, link))
	}
	if d.goes {
		commands = append(commands, fmt.Sprintf(out, link))
	}
	return strings.Join(commands, " && ")
}

// iptables is the command for a table. Empty: filter.
func (d ForeignChain) iptables(table string) string {
	command := "iptables"
	if strings.HasPrefix(d.Table, "ip6 ") {
		command = "ip6tables"
	}
	if table != "" && table != "filter" {
		command += " -t " + table
	}
	return command
}

// ForwardDrops lists the chains of others that drop what the host forwards unless one of their own rules accepts it.
// Whether one does is not looked at. Rules of iptables-legacy are not seen, as they are none of nftables.
func ForwardDrops(k *kernel.Kernel) (drops []ForeignChain, err error) {
	err = eachDrop(k, nftables.ChainHookForward, func(c *nftables.Chain, all []*nftables.Chain) {
		drops = append(drops, Foreign(c, all))
	})
	return drops, err
}

// InputDrops lists the chains, such as "ip filter INPUT", that drop what others ask of the host itself unless one of their own rules
// accepts it.
func InputDrops(k *kernel.Kernel) (chains []string, err error) {
	err = eachDrop(k, nftables.ChainHookInput, func(c *nftables.Chain, _ []*nftables.Chain) {
		chains = append(chains, nftable.TableName(c.Table)+" "+c.Name)
	})
	return chains, err
}

// eachDrop calls f for each chain of others at a hook that drops what none of its rules accepts, with all chains there are.
func eachDrop(k *kernel.Kernel, hook *nftables.ChainHook, f func(c *nftables.Chain, all []*nftables.Chain)) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	all, err := conn.ListChains()
	if err != nil {
		return fmt.Errorf("nft list chains: %w", err)
	}
	for _, c := range all {
		if c.Table.Name == InetTable().Name {
			continue
		}
		drops, err := k.Drops(c, hook)
		if err != nil {
			return err
		}
		if drops {
			f(c, all)
		}
	}
	return nil
}

// firewallOf tells whose a chain is by the chains in the same table.
func firewallOf(c *nftables.Chain, all []*nftables.Chain) firewall {
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(other *nftables.Chain) bool {
			return other.Name == name && other.Table.Name == c.Table.Name && other.Table.Family == c.Table.Family
		})
	}
	of := ofIptables
	switch {
	case c.Table.Name == "firewalld":
		return ofFirewalld
	case c.Table.Family != nftables.TableFamilyIPv4 && c.Table.Family != nftables.TableFamilyIPv6,
		!slices.Contains([]string{"filter", "raw", "mangle", "security"}, c.Table.Name), !slices.Contains(ofIptablesChains, c.Name):
		return ofNft
	case c.Table.Name != "filter" || c.Name != "FORWARD":
	case has("DOCKER-USER"):
		of = ofDocker
	case has("ufw-user-forward"), has("ufw6-user-forward"):
		of = ofUfw
	}
	return of
}

// ofIptablesChains are the base chains that iptables makes.
var ofIptablesChains = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// ForwardPath is the way of packets from a link and to it through the host. It is no state of ours: STATUS warns of who
// may be in the way.
type ForwardPath struct {
	state.Attribute
	Link string
}

var _ state.Readier = ForwardPath{}

func (p ForwardPath) String() string {
	return fmt.Sprintf("# the host forwards from and to %s", p.Link)
}

// Ensure has nothing to make.
func (ForwardPath) Ensure(*kernel.Kernel) (bool, error) { return false, nil }

// Verify has nothing to look at.
func (ForwardPath) Verify(*kernel.Kernel) error { return nil }

// Ready logs a warning for each chain in the way. None is an error: an ADD works, and a rule of the chain may let the
// link's packets through.
func (p ForwardPath) Ready(k *kernel.Kernel) error {
	drops, err := ForwardDrops(k)
	if err != nil {
		return nil // without nftables there is no such chain; what needs nftables says so itself
	}
	for _, d := range drops {
		slog.Warn(fmt.Sprintf("chain %s drops what none of its rules accepts, which fairway cannot override: allow the network there, unless that is done", d),
			"remedy", d.Remedy(p.Link))
	}
	return nil
}
