package hostlocal

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/netconf"
)

// DefaultDataDir is upstream's, so that reservations survive a change of suite.
const DefaultDataDir = "/var/lib/cni/networks"

// Config is the checked IPAM part of a network configuration.
type Config struct {
	Network    string       // a file name, never a path
	DataDir    string       // never empty
	ResolvConf string       // path of a resolv.conf for Lease.DNS; empty: none
	Ranges     []RangeSet   // an attachment gets one address of each
	Routes     []Route      // as configured
	Requested  []netip.Addr // addresses the caller asks for; at most one of each range set
}

// keys mirrors the keys that host-local reads. Addresses are strings here, so that
// an error can name the key.
type keys struct {
	Name       string       `json:"name"`
	CNIVersion string       `json:"cniVersion"`
	IPAM       *ipamSection `json:"ipam"`
	// Runtimes give the value of a capability with ADD, CHECK and DEL, and leave it out with GC and STATUS.
	Capabilities struct {
		IPRanges bool `json:"ipRanges"`
	} `json:"capabilities"`
	RuntimeConfig struct {
		IPRanges [][]rangeSection `json:"ipRanges"`
		IPs      []string         `json:"ips"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	} `json:"args"`
}

type ipamSection struct {
	Subnet     string           `json:"subnet"`
	RangeStart string           `json:"rangeStart"`
	RangeEnd   string           `json:"rangeEnd"`
	Gateway    string           `json:"gateway"`
	Ranges     [][]rangeSection `json:"ranges"`
	Routes     []routeSection   `json:"routes"`
	DataDir    string           `json:"dataDir"`
	ResolvConf string           `json:"resolvConf"`
}

// Parse reads a network configuration and CNI_ARGS. It touches no file. Errors
// are ErrConfig, *json.SyntaxError or *json.UnmarshalTypeError.
func Parse(stdin []byte, cniArgs string) (Config, error) {
	var n keys
	if err := netconf.Decode(stdin, &n); err != nil {
		return Config{}, err
	}
	if err := checkNetwork(n.Name); err != nil {
		return Config{}, err
	}
	if n.IPAM == nil {
		return Config{}, invalidf(`the network configuration has no key ipam: add "ipam": {"type": "host-local", "subnet": …}`)
	}
	return n.config(cniArgs)
}

// Locate reads where the reservations of a network are: Network and DataDir of a Config. That is all that Release and GC
// need, so that a mistake in another key, made since the Add, keeps no address from being given back. Errors are those of
// Parse.
func Locate(stdin []byte) (Config, error) {
	var n struct {
		Name string `json:"name"`
		IPAM struct {
			DataDir string `json:"dataDir"`
		} `json:"ipam"`
	}
	if err := netconf.Decode(stdin, &n); err != nil {
		return Config{}, err
	}
	return Config{Network: n.Name, DataDir: dataDir(n.IPAM.DataDir)}, checkNetwork(n.Name)
}

// dataDir is a configured directory, or the default.
func dataDir(configured string) string {
	if configured == "" {
		return DefaultDataDir
	}
	return configured
}

func (n *keys) config(cniArgs string) (Config, error) {
	c := Config{Network: n.Name, DataDir: dataDir(n.IPAM.DataDir), ResolvConf: n.IPAM.ResolvConf}
	var err error
	if c.Ranges, err = n.ranges(); err != nil {
		return Config{}, err
	}
	if c.Routes, err = parseRoutes(n.IPAM.Routes); err != nil {
		return Config{}, err
	}
	if c.Requested, err = n.requested(cniArgs, c.Ranges); err != nil {
		return Config{}, err
	}
	return c, nil
}

// nameMax is NAME_MAX of Linux: the network's name becomes a directory.
const nameMax = 255

// checkNetwork enforces what section 1 of the CNI specification demands of a name, because it becomes part of a path.
func checkNetwork(name string) error {
	switch {
	case name == "":
		return invalidf("name is missing: name the network")
	case len(name) > nameMax:
		return invalidf("name has %d characters: use at most %d", len(name), nameMax)
	case !identifier.Valid(name):
		return invalidf("name %q: use %s", name, identifier.Rule)
	}
	return nil
}
