package show

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/names"
)

// Network has the fields of Docker's, in its order. File and Conflist are ours, for Verbose.
type Network struct {
	Name       string
	ID         string    `json:"Id"`
	Created    time.Time // in the year 1, as Docker has it, where nobody has noted it
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       IPAM
	Internal   bool
	Attachable bool
	Ingress    bool // always false: nothing here balances a swarm's load
	ConfigFrom ConfigFrom
	ConfigOnly bool
	Containers map[string]Container // by ID
	Options    map[string]string
	Labels     map[string]string
	File       string          `json:",omitempty"`
	Conflist   json.RawMessage `json:",omitempty"`
}

// IPAM is how containers get addresses.
type IPAM struct {
	Driver  string
	Options map[string]string
	Config  []Config
}

// Config is one subnet.
type Config struct {
	Subnet             string            `json:",omitempty"`
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// ConfigFrom is the network from which the configuration was copied.
type ConfigFrom struct{ Network string }

// Container is one interface of a container.
type Container struct {
	Name       string
	EndpointID string // derived from network, container and interface
	MacAddress string
	// IPv4Address and IPv6Address have prefix lengths. Empty: none.
	IPv4Address string
	IPv6Address string
	// Unrecorded: no runtime's record is known, and the kernel has the interface.
	Unrecorded bool `json:",omitempty"`
	// DNSNames are those by which others of the network find it. Empty: the network has no names.
	DNSNames []string `json:",omitempty"`
	// Ports are the published ones, by the container's "80/tcp", as `docker inspect` has them of a container.
	Ports map[string][]Binding `json:",omitempty"`
}

// Binding is where of the host a port is published.
type Binding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// Inspect describes a network and those of its attachments that are alive.
func Inspect(n conflist.Network, alive []attachment.Attachment) Network {
	shown := Network{
		Name: n.Name, ID: n.ID, Created: n.Created.UTC(), Scope: n.Scope, Driver: n.Driver, EnableIPv4: n.Has4(), EnableIPv6: n.Has6() || n.IPv6,
		IPAM: ipam(n.IPAM), Internal: n.Internal, Attachable: n.Attachable, ConfigFrom: ConfigFrom{n.ConfigFrom},
		ConfigOnly: n.ConfigOnly, Containers: map[string]Container{}, Options: n.Options, Labels: n.Labels,
	}
	for _, a := range alive {
		id := a.ID
		if _, twice := shown.Containers[id]; twice {
			id += "/" + a.IfName // Docker has one interface of a container on a network
		}
		shown.Containers[id] = container(a)
	}
	return shown
}

// Named adds the names of the network's containers, by their records.
func Named(shown Network, records []names.Record) Network {
	for _, r := range records {
		if r.Owner.Network != shown.Name {
			continue
		}
		for _, id := range []string{r.Owner.ContainerID + "/" + r.Owner.IfName, r.Owner.ContainerID} {
			if c, ok := shown.Containers[id]; ok {
				c.DNSNames = r.All()
				if id := names.ShortID(r.Owner.ContainerID); !slices.Contains(c.DNSNames, id) {
					c.DNSNames = append(c.DNSNames, id)
				}
				shown.Containers[id] = c
				break
			}
		}
	}
	return shown
}

// Publishing adds the published ports of the network's containers, as Ports has them.
func Publishing(shown Network, alive []attachment.Attachment, ports func(attachment.Attachment) map[string][]Binding) Network {
	for _, a := range alive {
		bindings := ports(a)
		for _, id := range []string{a.ID + "/" + a.IfName, a.ID} {
			if c, ok := shown.Containers[id]; ok && len(bindings) > 0 {
				c.Ports = bindings
				shown.Containers[id] = c
				break
			}
		}
	}
	return shown
}

// Verbose adds what the network is made of.
func Verbose(shown Network, n conflist.Network) Network {
	shown.File = n.File
	if n.List != nil {
		shown.Conflist = n.List.Bytes
	}
	return shown
}

func ipam(i conflist.IPAM) IPAM {
	shown := IPAM{Driver: i.Driver, Options: i.Options, Config: []Config{}}
	for _, pool := range i.Pools {
		c := Config{Subnet: pool.Subnet.String()}
		if pool.Range.IsValid() {
			c.IPRange = pool.Range.String()
		}
		if pool.Gateway.IsValid() {
			c.Gateway = pool.Gateway.String()
		}
		for name, addr := range pool.Aux {
			if c.AuxiliaryAddresses == nil {
				c.AuxiliaryAddresses = map[string]string{}
			}
			c.AuxiliaryAddresses[name] = addr.String()
		}
		shown.Config = append(shown.Config, c)
	}
	return shown
}

func container(a attachment.Attachment) Container {
	endpoint := sha256.Sum256([]byte(a.Network + "\x00" + a.ID + "\x00" + a.IfName))
	return Container{
		Name: a.DisplayName(), EndpointID: hex.EncodeToString(endpoint[:]), MacAddress: a.MAC.String(),
		IPv4Address: first(a.Addresses, netip.Addr.Is4), IPv6Address: first(a.Addresses, netip.Addr.Is6), Unrecorded: a.Unrecorded,
	}
}

func first(all []netip.Prefix, family func(netip.Addr) bool) string {
	for _, p := range all {
		if family(p.Addr()) {
			return p.String()
		}
	}
	return ""
}
