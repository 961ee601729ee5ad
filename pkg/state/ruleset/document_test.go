package ruleset_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const page = "../../../docs/nftables.md"

// reasons are of what the listing itself does not explain: the hooks, and where they stand among those of others.
var reasons = map[string]string{
	"forward":          "what the host forwards between networks. At the priority of other filters, as the order among drops does not matter; what is accepted here, a chain of another table may still drop",
	"icc":              "containers that are not to reach each other, by way of the host. In postrouting, frames between two ports of a bridge, which br_netfilter brings to these hooks, have no link that they come by; in forward they could not be told from packets that are routed",
	"postrouting":      "masquerading. At the priority of source translation",
	"vxlan_input":      "VXLAN packets to this host. At the priority of other filters: it only drops",
	"vxlan_source":     "whether a packet of a network of this host may come from where it does",
	"vxlan_unreadable": "fragments that hide a network's identifier from the chains that lead here",
	"overlay_source":   "containers of overlay networks send from their own addresses. Before connections are tracked, so that what is dropped leaves no entry",
	"vxlan_output":     "VXLAN packets that the host itself sends. At the priority of other filters: it only drops",
	"encrypted":        "encrypted networks, by whatever link a packet would leave. In postrouting, where the link is known, whether the packet is forwarded or the host's own",
	"prerouting":       "key `macspoofchk`. In the family of bridges, as frames between two ports pass no other hook",
	"subnet_…":         "one for each subnet that is masqueraded",
}

var hookLine = regexp.MustCompile(`type (\S+) hook (\S+) priority ([^;]+);`)

// TestDocument writes docs/nftables.md from a namespace with an object of each kind, or compares it.
func TestDocument(t *testing.T) {
	testnet.NewHost(t)
	objects := everything()
	for _, name := range []string{"plain", "isolation", "overlay", "filter", "encryption", "masquerade", "spoof"} {
		if _, err := objects[name].Ensure(statetest.Open(t, nil)); err != nil {
			t.Fatal(err)
		}
	}
	got := document(t, testnet.Sh(t, "nft", "list", "ruleset"))
	if golden.Updating() {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/nftables.md is not of this ruleset: go test ./pkg/state/ruleset -update (-page +got)\n%s", diff)
	}
}

func document(t *testing.T, listing string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString(head)
	table, name, kind := "", "", ""
	var chains, sets []string
	for line := range strings.Lines(listing) {
		line = strings.TrimRight(line, "\n")
		if m := tableLine.FindStringSubmatch(line); m != nil {
			table = m[1]
		}
		if m := setLine.FindStringSubmatch(line); m != nil {
			name = m[2]
		}
		if m := chainLine.FindStringSubmatch(line); m != nil {
			name = m[1]
			if strings.HasPrefix(name, "subnet_") {
				name = "subnet_…"
			}
			if reasons[name] == "" {
				t.Errorf("chain %s has no reason", name)
			}
			chains = append(chains, fmt.Sprintf("| `%s` | `%s` | %%s | %s |", table, name, reasons[name]))
		}
		if m := hookLine.FindStringSubmatch(line); m != nil {
			chains[len(chains)-1] = fmt.Sprintf(chains[len(chains)-1], fmt.Sprintf("%s, hook %s, priority %s", m[1], m[2], m[3]))
		}
		if key, ok := strings.CutPrefix(strings.TrimSpace(line), "type "); ok && !strings.Contains(line, "hook") {
			kind = key
		}
		if key, ok := strings.CutPrefix(strings.TrimSpace(line), "typeof "); ok {
			kind = key
		}
		if comment, ok := strings.CutPrefix(strings.TrimSpace(line), "comment "); ok {
			sets = append(sets, fmt.Sprintf("| `%s` | `%s` | `%s` | %s |", table, name, kind, strings.Trim(comment, `"`)))
		}
	}
	for i, c := range chains {
		chains[i] = strings.Replace(c, "%s", "is jumped to", 1)
	}
	fmt.Fprintf(&text, "## Chains\n\n| table | chain | where | what for |\n|---|---|---|---|\n%s\n\n", strings.Join(slices.Compact(chains), "\n"))
	fmt.Fprintf(&text, "## Sets and maps\n\n| table | name | key | what for |\n|---|---|---|---|\n%s\n\n", strings.Join(sets, "\n"))
	fmt.Fprintf(&text, "## The whole ruleset\n\n%s\n```nft\n%s\n```\n", example, listing)
	return text.String()
}

const head = `# What fairway does to nftables

<!-- Written by a test from a real namespace: go test ./pkg/state/ruleset -update -->

Two tables, ` + "`inet fairway` and `bridge fairway`" + `, hold all of it, and fairway touches no table of others. They are made by
the first attachment that needs them. No rule is made for a container: rules look into sets, which have an element for each
network or container, so that a packet meets as many rules with a thousand containers as with one.

Each rule's comment begins with the version of the ruleset and the rule's place in its chain. An ADD reads the comments of the
chains that it depends on; where one is missing, changed or of another release, it writes all rules afresh, in one transaction.
CHECK reports it. After ` + "`nft flush ruleset`" + `, ` + "`fairway repair`" + ` declares again what live attachments have; the node agent does so
by itself.

Names of tables, chains and sets may change with a release. An administrator's own chains and sets in the tables stay, and
nothing refers to them; rules added to fairway's own chains go with the next ADD. To let packets through that another table
drops, change that table: an accept here cannot (nft(8), "verdict statements").

`

const example = "An isolated, internal bridge `br1` without `icc`, a bridge `br2` with neither, a container that is masqueraded and whose MAC is\n" +
	"checked, an internal overlay network `wide` with VNI 42 and two peers, and an encrypted one, `secret`, with VNI 43:\n"
