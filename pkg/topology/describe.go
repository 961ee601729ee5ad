package topology

import (
	"encoding/json"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// conf is what the first plugin's configuration says of where packets can go.
type conf struct {
	Type          string `json:"type"`
	VNI           uint32 `json:"vni"` // 0 for an encrypted network of the node agent, whose file has it
	Encrypted     bool   `json:"encrypted"`
	IPMasq        bool   `json:"ipMasq"`
	Isolated      bool   `json:"isolated"`
	ICC           *bool  `json:"icc"`
	PortIsolation bool   `json:"portIsolation"`
}

// DescribeNetworks takes from networks what a picture needs. Configurations for other networks are none.
func DescribeNetworks(all []conflist.Network) []Network {
	var networks []Network
	for _, n := range all {
		if n.List == nil || len(n.List.Plugins) == 0 {
			continue
		}
		var c conf
		// A key of another type than here is one of a plugin that gives it another meaning.
		_ = json.Unmarshal(n.List.Plugins[0].Bytes, &c)
		d := Network{Name: n.Name, Type: c.Type, Link: n.Link, Defined: n.File != "", Marks: c.marks(n.Internal)}
		if c.Type == "overlay-vxlan" {
			d.Link = overlay.Network{VNI: c.VNI, Encrypted: c.Encrypted}.Device()
		}
		for _, pool := range n.IPAM.Pools {
			d.Subnets = append(d.Subnets, pool.Subnet)
		}
		networks = append(networks, d)
	}
	return networks
}

func (c conf) marks(internal bool) []string {
	var marks []string
	for _, m := range []struct {
		text string
		set  bool
	}{
		{Internal, internal}, {Masquerade, c.IPMasq && !internal}, {Isolated, c.Isolated}, {Encrypted, c.Encrypted},
		{NoICC, c.PortIsolation || c.ICC != nil && !*c.ICC},
	} {
		if m.set {
			marks = append(marks, m.text)
		}
	}
	return marks
}

// DescribeAttachments takes from attachments, and from the published ports by their owners' tags, what a picture needs.
func DescribeAttachments(all []attachment.Attachment, published map[string][]ports.Port) []Attachment {
	var attachments []Attachment
	for _, a := range all {
		tag := a.Owner().Tag()
		attachments = append(attachments, Attachment{
			Network: a.Network, ID: a.ID, Name: a.Name, IfName: a.IfName, Netns: a.Path(), Tag: tag, Unrecorded: a.Unrecorded,
			Ports: published[tag],
		})
	}
	return attachments
}
