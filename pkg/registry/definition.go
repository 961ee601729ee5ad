package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// maxVNI is the largest VXLAN network identifier: 24 bits (RFC 7348, section 5).
const maxVNI = 1<<24 - 1

// nameRule is the CNI specification's for the name of a network (1.1.0, section 1), and for what becomes part of a key.
var nameRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// nameMax leaves room for the ending of a file's name.
const nameMax = 200

// CheckNode says whether a name can be a node's.
func CheckNode(name string) error {
	if !nameRule.MatchString(name) || len(name) > nameMax {
		return invalidf("node name %q: use letters, digits, '_', '.' and '-', at most %d", name, nameMax)
	}
	return nil
}

// Complete checks a definition and fills in what it leaves open, but for the VNI. Errors are agentapi.ErrInvalid.
func Complete(n agentapi.Network) (agentapi.Network, error) {
	if !nameRule.MatchString(n.Name) || len(n.Name) > nameMax {
		return n, invalidf("name %q: begin with a letter or digit, go on with these, '_', '.' or '-', at most %d", n.Name, nameMax)
	}
	if n.VNI > maxVNI {
		return n, invalidf("vni %d: give one from 1 to %d, or leave it out", n.VNI, maxVNI)
	}
	if len(n.Subnets) == 0 || len(n.Subnets) > 2 {
		return n, invalidf("subnets has %d entries: give one of IPv4, one of IPv6, or one of each", len(n.Subnets))
	}
	subnets := make([]agentapi.Subnet, len(n.Subnets))
	for i, s := range n.Subnets {
		var err error
		if subnets[i], err = completeSubnet(s); err != nil {
			return n, err
		}
	}
	if len(subnets) == 2 && subnets[0].Prefix.Addr().Is4() == subnets[1].Prefix.Addr().Is4() {
		return n, invalidf("subnets %s and %s are of one family: give one of IPv4, one of IPv6, or one of each",
			subnets[0].Prefix, subnets[1].Prefix)
	}
	n.Subnets = subnets
	return completeEncryption(n)
}

// completeEncryption has hosts keep off an encrypted network that do not know what that is.
func completeEncryption(n agentapi.Network) (agentapi.Network, error) {
	required := slices.Contains(n.Requires, encrypted)
	switch {
	case !n.Encrypted && required:
		return n, invalidf("requires has %q, and the network is not encrypted: set encrypted", encrypted)
	case !n.Encrypted && n.WireguardPort != 0:
		return n, invalidf("wireguardPort is set, and the network is not encrypted: set encrypted, or leave it out")
	case n.Encrypted && n.WireguardPort == overlay.DefaultPort:
		return n, invalidf("wireguardPort %d is that of VXLAN: give another, or leave it out", n.WireguardPort)
	case n.Encrypted && !required:
		n.Requires = append(slices.Clone(n.Requires), encrypted)
	}
	return n, nil
}

func completeSubnet(s agentapi.Subnet) (agentapi.Subnet, error) {
	if !s.Prefix.IsValid() {
		return s, invalidf("subnets has an entry without prefix: give one such as 10.42.0.0/16")
	}
	if s.Prefix != s.Prefix.Masked() {
		return s, invalidf("invalid subnet %s: it should be %s", s.Prefix, s.Prefix.Masked())
	}
	if s.Prefix.Addr().Is4In6() {
		return s, invalidf("invalid subnet %s: write an IPv4 subnet as such", s.Prefix)
	}
	if s.BlockLength == 0 {
		s.BlockLength = defaultBlockLength(s.Prefix)
	}
	if longest := longestBlock(s.Prefix); s.BlockLength < s.Prefix.Bits() || s.BlockLength > longest {
		return s, invalidf("blockLength %d of subnet %s: give one from %d to %d, or a larger subnet", s.BlockLength, s.Prefix, s.Prefix.Bits(), longest)
	}
	return s, nil
}

// longestBlock is the prefix length of the smallest block that has room: its first address is the next hop to it.
func longestBlock(subnet netip.Prefix) int { return subnet.Addr().BitLen() - 2 }

// defaultBlockLength gives 64 addresses of IPv4 to a block, as Calico does, and fewer when a subnet is too small for 16
// such blocks; of IPv6, where addresses are plenty, 65536 blocks to a subnet.
func defaultBlockLength(subnet netip.Prefix) int {
	length := max(26, subnet.Bits()+4)
	if subnet.Addr().Is6() {
		length = subnet.Bits() + 16
	}
	return min(length, longestBlock(subnet))
}

// conflict says why a network cannot join others, or nil.
func conflict(n agentapi.Network, others map[string]agentapi.Network) error {
	for _, other := range others {
		if n.VNI != 0 && n.VNI == other.VNI {
			return existsf("vni %d is that of network %s: give another, or leave it out", n.VNI, other.Name)
		}
		if n.WireguardPort != 0 && n.WireguardPort == other.WireguardPort {
			return existsf("wireguardPort %d is that of network %s: give another, or leave it out", n.WireguardPort, other.Name)
		}
		if n.WireguardPort != 0 && other.WireguardPort != 0 &&
			(overlay.SparePort(n.WireguardPort) == other.WireguardPort || overlay.SparePort(other.WireguardPort) == n.WireguardPort) {
			return existsf("wireguardPort %d and %d of network %s are 4096 apart, and a host that replaces its key uses both: give another, or leave it out",
				n.WireguardPort, other.WireguardPort, other.Name)
		}
		for _, s := range n.Subnets {
			for _, o := range other.Subnets {
				if s.Prefix.Overlaps(o.Prefix) {
					return existsf("subnet %s overlaps %s of network %s: give another", s.Prefix, o.Prefix, other.Name)
				}
			}
		}
	}
	return nil
}

// satisfies says whether a network is what was asked for, where something was.
func satisfies(made, asked agentapi.Network) bool {
	if asked.VNI == 0 {
		asked.VNI = made.VNI
	}
	if asked.WireguardPort == 0 {
		asked.WireguardPort = made.WireguardPort
	}
	asked.Created = made.Created
	return made.Same(asked)
}

// sentence is an error of a kind that its text does not repeat.
type sentence struct {
	kind error
	text string
}

func (s *sentence) Error() string { return s.text }
func (s *sentence) Unwrap() error { return s.kind }

func invalidf(format string, args ...any) error {
	return &sentence{agentapi.ErrInvalid, fmt.Sprintf(format, args...)}
}

func existsf(format string, args ...any) error {
	return &sentence{agentapi.ErrExists, fmt.Sprintf(format, args...)}
}

func inUsef(format string, args ...any) error {
	return &sentence{agentapi.ErrInUse, fmt.Sprintf(format, args...)}
}

func notFound(network string) error {
	return &sentence{agentapi.ErrNotFound, fmt.Sprintf("network %s not found", network)}
}

// hostsOf names hosts for people: "host a", "hosts a and b", "hosts a, b and c".
func hostsOf(nodes []string) string {
	if len(nodes) == 1 {
		return "host " + nodes[0]
	}
	last := len(nodes) - 1
	return "hosts " + strings.Join(nodes[:last], ", ") + " and " + nodes[last]
}
