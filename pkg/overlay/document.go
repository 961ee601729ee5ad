package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairway-cni/fairway/pkg/failure"
)

// Document is what a file says of a network: a list of peers written by hand, or the node agent's snapshot.
type Document struct {
	// Network is nil where the file leaves it to the network configuration.
	Network *Network
	Hosts
	// Revision of the store the document was read from, 0 for a file written by hand.
	Revision int64
	// Partial says that peers may be missing: none is removed for not being listed.
	Partial bool
	// Full names the file with all peers, when this one has only what an attachment needs.
	Full string
	// Confirmed names the file that says until when the host may give out addresses (package fence). Empty: without end.
	Confirmed string
	// Withheld are blocks of this host that no address may be given out of: it is about to give them up, or claims them again.
	Withheld []netip.Prefix
	// UnderlayMTU is the least of all hosts', 0 for this host's.
	UnderlayMTU int
}

// documentText is a document as it is written. Further keys are ignored, so that later releases may add some.
type documentText struct {
	Network *NetworkText `json:"network,omitempty"`
	PeersText
	Revision    int64  `json:"revision,omitempty"`
	Partial     bool   `json:"partial,omitempty"`
	Full        string `json:"full,omitempty"`
	Confirmed   string `json:"confirmed,omitempty"`
	UnderlayMTU int    `json:"underlayMTU,omitempty"`
	// Withheld are written as they are.
	Withheld []string `json:"withheld,omitempty"`
}

// Decode reads a document and checks it. One that was cut short is no JSON, and an error. Errors are ErrConfig,
// *json.SyntaxError or *json.UnmarshalTypeError.
func Decode(data []byte) (Document, error) {
	var t documentText
	err := json.Unmarshal(data, &t)
	if err != nil {
		return Document{}, undecodable(err)
	}
	if t.Peers == nil {
		return Document{}, invalidf(`key peers is missing: write {"peers": [{"vtep": …, "subnets": […]}, …]}`)
	}
	d := Document{Revision: t.Revision, Partial: t.Partial, Full: t.Full, Confirmed: t.Confirmed, UnderlayMTU: t.UnderlayMTU}
	if d.Hosts, err = t.PeersText.Parse(); err != nil {
		return Document{}, err
	}
	if d.Withheld, err = parsePrefixes(named("withheld"), t.Withheld); err != nil {
		return Document{}, err
	}
	if t.Network == nil {
		return d, nil
	}
	network, err := t.Network.Parse()
	if err != nil {
		return Document{}, fmt.Errorf("key network: %w", err)
	}
	d.Network = &network
	return d, network.Check(d.Hosts)
}

// undecodable words the errors of encoding/json for people.
func undecodable(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d, perhaps cut short: %w", syntax.Offset, err)
	case errors.As(err, &wrong) && wrong.Field != "":
		// encoding/json counts the embedded struct as a key.
		return failure.Of(err, "key %s is a JSON %s", strings.TrimPrefix(wrong.Field, "PeersText."), wrong.Value)
	case errors.As(err, &wrong):
		return failure.Of(err, "a JSON %s instead of an object", wrong.Value)
	}
	return err
}

// Encode writes a document that Decode reads, on one line: each ADD reads it.
func (d Document) Encode() []byte {
	t := documentText{
		PeersText: d.Hosts.text(), Revision: d.Revision, Partial: d.Partial, Full: d.Full, Confirmed: d.Confirmed, UnderlayMTU: d.UnderlayMTU,
	}
	for _, block := range d.Withheld {
		t.Withheld = append(t.Withheld, block.String())
	}
	if d.Network != nil {
		text := d.Network.Text()
		t.Network = &text
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return append(data, '\n')
}
