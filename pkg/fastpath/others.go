package fastpath

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// others names what of somebody else has to see forwarded packets: rules where packets are filtered or translated on their way through the host. Empty:
// nothing has.
func others(k *kernel.Kernel) (who string, err error) {
	if who, err = legacyTables(); who != "" || err != nil {
		return who, err
	}
	if has, err := k.HasNftables(); err != nil || !has {
		return "", err
	}
	conn, err := k.Nftables()
	if err != nil {
		return "", err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return "", fmt.Errorf("nft list chains: %w", err)
	}
	for _, c := range chains {
		if !onTheWay(c) {
			continue
		}
		if seen, err := seesPackets(k, c); err != nil || seen {
			return fmt.Sprintf("chain %s of nftables table %s", c.Name, c.Table.Name), err
		}
	}
	return "", nil
}

// onTheWay says whether forwarded packets of containers pass a chain.
func onTheWay(c *nftables.Chain) bool {
	if c.Hooknum == nil {
		return false // it is led to by others
	}
	switch c.Table.Family {
	case nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet:
		return *c.Hooknum != *nftables.ChainHookInput && *c.Hooknum != *nftables.ChainHookOutput
	case nftables.TableFamilyNetdev:
		return true
	}
	return false
}

// ownComment is how fairway's own rules begin: the version of the layout, the place and the number of the chain's rules.
var ownComment = regexp.MustCompile(`^([0-9a-f]+ )?[0-9]+/[0-9]+ `)

// ownTables are those of which the program does what the rules do, or whose rules concern no packet within an overlay network, but of containers that
// are left out.
var ownTables = map[string]bool{"fairway": true, "fairway_ports": true}

// seesPackets says whether a chain does anything with packets: it has a rule that is not fairway's, or drops by its policy.
func seesPackets(k *kernel.Kernel, c *nftables.Chain) (bool, error) {
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		return true, nil
	}
	rules, own := 0, 0
	if err := k.EachRule(c, func(uint64, []byte) error {
		rules++
		return nil
	}); err != nil || rules == 0 {
		return false, err
	}
	if c.Table.Family != nftables.TableFamilyINet || !ownTables[c.Table.Name] {
		return true, nil
	}
	err := k.EachRuleComment(c.Table, c.Name, func(comment []byte) {
		if ownComment.Match(comment) {
			own++
		}
	})
	return own < rules, err
}

// legacyTables names what of iptables-legacy, or of IPVS, is on the host.
func legacyTables() (string, error) {
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not loaded
		}
		if err != nil {
			return "", err
		}
		if names := strings.Fields(string(text)); len(names) > 0 {
			return "table " + names[0] + " of iptables-legacy", nil
		}
	}
	const heading = 3 // lines, before the services
	text, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if bytes.Count(text, []byte("\n")) > heading {
		return "IPVS", err
	}
	return "", err
}
