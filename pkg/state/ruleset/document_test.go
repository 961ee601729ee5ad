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
	"forward":            "what the host forwards between networks. At the priority of other filters, as the order among drops does not matter; what is accepted here, a chain of another table may still drop",
	"icc":                "containers that are not to reach each other, by way of the host. In postrouting, frames between two ports of a bridge, which br_netfilter brings to these hooks, have no link that they come by; in forward they could not be told from packets that are routed",
	"postrouting":        "masquerading. At the priority of source translation",
	"vxlan_input":        "VXLAN packets to this host. At the priority of other filters: it only drops",
	"vxlan_source":       "whether a packet of a network of this host may come from where it does",
	"vxlan_unreadable":   "fragments that hide a network's identifier from the chains that lead here",
	"overlay_source":     "containers of overlay networks send from their own addresses. Before connections are tracked, so that what is dropped leaves no entry",
	"vxlan_output":       "VXLAN packets that the host itself sends. At the priority of other filters: it only drops",
	"vxlan_untracked":    "VXLAN packets that the host itself sends, before conntrack sees them: it would keep an entry for each flow between containers",
	"vxlan_untracked_in": "the same of those that come in",
	"encrypted":          "encrypted networks, by whatever link a packet would leave. In postrouting, where the link is known, whether the packet is forwarded or the host's own",
	"prerouting":         "key `macspoofchk`. In the family of bridges, as frames between two ports pass no other hook",
	"subnet_…":           "one for each subnet that is masqueraded",
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
	text.WriteString(others(t))
	fmt.Fprintf(&text, "## The whole ruleset\n\n%s\n```nft\n%s\n```\n", example, listing)
	return text.String()
}

const head = `# What fairway does to nftables

<!-- Written by a test from a real namespace: go test ./pkg/state/ruleset -update -->

Two tables, ` + "`inet fairway` and `bridge fairway`" + `, are those of networks. ` + "`inet fairway_ports`" + ` has published ports, ` + "`inet fairway_firewall`" + `
what the plugin ` + "`firewall`" + ` lets through, and ` + "`ip fairway-names`" + `, in a container's namespace, leads queries for names to the resolver.
fairway touches no table of others. They are made by the first attachment that needs them. No rule is made for a container: rules look into sets, which have an element for each
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

// ofOthers are the reasons of what is in the tables of ports and of the plugin firewall. A set of each family has one name here.
var ofOthers = map[string]string{
	"fairway_ports user":                 "the administrator's: made empty, asked first, never changed",
	"fairway_ports raw":                  "what must not come from outside. Before connections are tracked and addresses translated",
	"fairway_ports incoming":             "ports of the host's addresses, for those who come in",
	"fairway_ports own":                  "the same for the host itself",
	"fairway_ports prerouting":           "at the priority of destination translation",
	"fairway_ports output":               "the same for the host itself",
	"fairway_ports postrouting":          "connections that would be answered by another way. Before masquerading, to come before others' rules",
	"fairway_ports inside":               "bridges of networks with published ports",
	"fairway_ports publishers":           "containers with published ports, each with a note of where its elements are",
	"fairway_ports published":            "a port of one address of the host, and the container's",
	"fairway_ports limited":              "key `publishFrom` of such a port: a chain that asks who may come in",
	"fairway_ports published_ranges":     "the same for ranges of ports",
	"fairway_ports limited_ranges":       "key `publishFrom` of such a range",
	"fairway_ports published_any":        "a port of all addresses of the host, and the container's",
	"fairway_ports limited_any":          "key `publishFrom` of such a port",
	"fairway_ports published_ranges_any": "the same for ranges of ports",
	"fairway_ports limited_ranges_any":   "key `publishFrom` of such a range",
	"fairway_ports hairpin":              "link by which a container is reached, twice, and its address: answers have to come back by the host",
	"fairway_ports self":                 "a container's address, twice: it reaches itself by its published port",
	"fairway_ports masquerade_all":       "key `masqAll` of portmap: containers that see the host's address for all that comes",
	"fairway_ports published_only":       "containers that are reached from outside by published ports alone",
	"fairway_firewall admin":             "the administrator's: made empty, asked first, never changed",
	"fairway_firewall forward":           "what is let through. At the priority of other filters: a chain of another table may still drop",
	"fairway_firewall admitted":          "addresses of containers",
	"fairway_firewall apart":             "key `ingressPolicy`: bridges that are apart from each other",
	"fairway_firewall within":            "the same, as pairs of in and out",
	"fairway_firewall isolated":          "the same, where containers of one bridge are apart, too",
}

// others are the tables of which tests of their own compare the text with a real namespace (layout.golden).
func others(t *testing.T) string {
	t.Helper()
	var chains, sets []string
	seen := map[string]bool{}
	for _, file := range []string{"../ports/testdata/layout.golden", "../admission/testdata/layout.golden"} {
		listing, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		table, name := "", ""
		for line := range strings.Lines(string(listing)) {
			if m := tableLine.FindStringSubmatch(line); m != nil {
				table = strings.TrimPrefix(m[1], "inet ")
			}
			reason := func(name string) string {
				seen[table+" "+name] = true
				if ofOthers[table+" "+name] == "" {
					t.Errorf("%s of table %s has no reason", name, table)
				}
				return ofOthers[table+" "+name]
			}
			if m := setLine.FindStringSubmatch(line); m != nil {
				name = m[2]
			}
			if m := chainLine.FindStringSubmatch(line); m != nil {
				name = ""
				chains = append(chains, fmt.Sprintf("| `inet %s` | `%s` | %%s | %s |", table, m[1], reason(m[1])))
			}
			if m := hookLine.FindStringSubmatch(line); m != nil {
				chains[len(chains)-1] = fmt.Sprintf(chains[len(chains)-1], fmt.Sprintf("%s, hook %s, priority %s", m[1], m[2], m[3]))
			} else if key, ok := strings.CutPrefix(strings.TrimSpace(line), "type "); ok && name != "" && !strings.HasSuffix(name, "6") {
				shown, both := strings.CutSuffix(name, "4")
				why := reason(shown)
				if both {
					shown += "4/6"
				}
				sets = append(sets, fmt.Sprintf("| `inet %s` | `%s` | `%s` | %s |", table, shown, key, why))
			}
		}
	}
	for i, c := range chains {
		chains[i] = strings.Replace(c, "%s", "is jumped to", 1)
	}
	for name := range ofOthers {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
	return "## Ports, and the plugin firewall\n\nA set whose name ends in 4/6 is there for each family.\n\n" +
		"| table | chain | where | what for |\n|---|---|---|---|\n" + strings.Join(chains, "\n") +
		"\n\n| table | name | key | what for |\n|---|---|---|---|\n" + strings.Join(sets, "\n") + "\n\n"
}
