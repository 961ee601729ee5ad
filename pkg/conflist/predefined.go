package conflist

import (
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// Default is Docker's further name for the predefined bridge. No network is created of that name; one that others made goes before.
const Default = "default"

// predefinedNames are Docker's.
var predefinedNames = []string{"bridge", "host", "none"}

// They are compiled in, and in no file unless somebody wants one: a kubelet's runtime takes the first file it finds.
//
//go:embed predefined/*.conflist
var predefinedFiles embed.FS

// IsPredefined says whether a name is one of bridge, host and none.
func IsPredefined(name string) bool { return slices.Contains(predefinedNames, name) }

// PredefinedNames are bridge, host and none.
func PredefinedNames() []string { return slices.Clone(predefinedNames) }

// predefined reads what is compiled in; a test reads it too, so that it cannot fail here.
func predefined() []Network {
	var networks []Network
	for _, name := range predefinedNames {
		n, err := Predefined(name)
		if err != nil {
			panic(fmt.Sprintf("predefined network %s: %v", name, err))
		}
		networks = append(networks, n)
	}
	return networks
}

// Predefined is the network as it is compiled in. The error wraps fs.ErrNotExist for another name.
func Predefined(name string) (Network, error) {
	content, err := predefinedFiles.ReadFile("predefined/" + name + listEnding)
	if err != nil {
		return Network{}, err
	}
	return parsePredefined(content)
}

// compiledSubnet and compiledGateway are those of the predefined bridge as it is compiled in.
const (
	compiledSubnet  = "10.87.0.0/16"
	compiledGateway = "10.87.0.1"
)

// PredefinedOn is the predefined bridge with another subnet, whose first address is the gateway.
func PredefinedOn(subnet netip.Prefix) (Network, error) {
	content, err := predefinedFiles.ReadFile("predefined/bridge" + listEnding)
	if err != nil {
		return Network{}, err
	}
	moved := strings.NewReplacer(compiledSubnet, subnet.String(), compiledGateway, subnet.Addr().Next().String()).Replace(string(content))
	return parsePredefined([]byte(moved))
}

func parsePredefined(content []byte) (Network, error) {
	list, err := libcni.NetworkConfFromBytes(content)
	if err != nil {
		return Network{}, err
	}
	return describe(list)
}
