package attach

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/netconf"
	"github.com/fairway-cni/fairway/pkg/state"
)

// call is one request of a runtime, read and found sound.
type call struct {
	env   Env
	given []byte // as it came
	stdin []byte // with rows of ports joined
	lean  []byte // stdin without the ports, which modes alone read
	conf  netConf

	dns    types.DNS
	valid  []ipam.Owner // the attachments that are alive; nil when the runtime did not say
	names  askedNames
	kernel *kernel.Kernel // nil: not opened
}

// netConf is the keys that every plugin has in common (CNI specification 1.1.0, section 1). Those that few calls have are left as they
// stand.
type netConf struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	IPAM       struct {
		Type string `json:"type"`
	} `json:"ipam"`
	DNS           json.RawMessage `json:"dns"`
	Names         json.RawMessage `json:"names"`
	Internal      json.RawMessage `json:"internal"`
	RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	PrevResult    json.RawMessage `json:"prevResult"`

	// A runtime says which attachments are alive by one of two keys, the second from before the specification's release.
	// Absent and null differ from an empty list, by which none is alive.
	Valid       json.RawMessage `json:"cni.dev/valid-attachments"`
	ValidLegacy json.RawMessage `json:"cni.dev/attachments"`
}

// read reads the request and checks what all plugins need. On an error, the call still tells the version to report it in.
func (c *call) read(stdin io.Reader) (err error) {
	var text bytes.Buffer // which grows in larger steps than io.ReadAll
	if _, err = text.ReadFrom(stdin); err != nil {
		return fmt.Errorf("network configuration on standard input: %w", err)
	}
	c.given = text.Bytes()
	c.stdin = c.given
	if c.env.Command == "VERSION" {
		_ = json.Unmarshal(c.stdin, &c.conf) // whatever it is, or nothing as in CNI 0.1.0: the answer is the same
		return nil
	}
	c.lean = c.stdin
	const long = 4096 // bytes; a shorter one is read in no time
	if len(c.given) > long {
		c.stdin = netconf.JoinRows(c.given)
		c.lean = netconf.Blank(c.stdin, "runtimeConfig", "portMappings")
	}
	if err := c.decode(); err != nil {
		return err
	}
	if err := c.env.check(); err != nil {
		return err
	}
	if !identifier.Valid(c.conf.Name) {
		return Invalidf("name %q: use %s", c.conf.Name, identifier.Rule)
	}
	if err := c.checkVersion(); err != nil {
		return err
	}
	if c.env.Command == "DEL" || c.env.Command == "GC" {
		return nil // the rest is of no concern to what removes
	}
	if err := netconf.DecodeAt("dns", c.conf.DNS, &c.dns); err != nil {
		return err
	}
	if len(c.conf.Names) > 0 && (c.env.Command == "ADD" || c.env.Command == "CHECK") {
		return c.readNames()
	}
	return nil
}

// decode reads the keys. To DEL, one of a wrong type is as none: it may have been written since ADD.
func (c *call) decode() error {
	err := Decode(c.lean, &c.conf)
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		err = Decode(c.given, &c.conf) // which tells the byte
	}
	if err == nil && c.env.Command == "GC" {
		return c.readValid()
	}
	var wrong *json.UnmarshalTypeError
	if c.env.Command == "DEL" && errors.As(err, &wrong) && wrong.Field != "" {
		slog.Warn("configuration is invalid: DEL continues with what could be read", "error", cnierr.Sentence(err))
		return nil
	}
	return err
}

// Invalidf is the error for a key of the configuration that cannot be used, with CNI code 7. The text names the key and
// what to change.
func Invalidf(format string, args ...any) error {
	return cnierr.Errorf(cnierr.ErrConfig, format, args...)
}

// version is the CNI version to answer in: the caller's.
func (c *call) version() string {
	if c.conf.CNIVersion == "" {
		if c.env.Command == "VERSION" {
			return types100.ImplementedSpecVersion
		}
		return "0.1.0" // the specification's default
	}
	return c.conf.CNIVersion
}

// since is the version that brought a verb.
var since = map[string]string{"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

func (c *call) checkVersion() error {
	supported := version.All.SupportedVersions()
	if !slices.Contains(supported, c.version()) {
		return cnierr.Errorf(cnierr.ErrVersion, "cniVersion %q is not supported: use one of %s", c.version(), strings.Join(supported, ", "))
	}
	first, limited := since[c.env.Command]
	if !limited {
		return nil
	}
	if ok, err := version.GreaterThanOrEqualTo(c.version(), first); err != nil || !ok {
		return cnierr.Errorf(cnierr.ErrVersion, "cniVersion %s has no %s: set it to %s or later", c.version(), c.env.Command, first)
	}
	return nil
}

// readValid reads which attachments are alive. valid is nil when the runtime did not say.
func (c *call) readValid() error {
	var list, legacy *[]types.GCAttachment
	if err := netconf.DecodeAt("cni.dev/valid-attachments", c.conf.Valid, &list); err != nil {
		return err
	}
	if err := netconf.DecodeAt("cni.dev/attachments", c.conf.ValidLegacy, &legacy); err != nil {
		return err
	}
	if list == nil {
		list = legacy
	}
	if list == nil {
		return nil
	}
	c.valid = make([]ipam.Owner, 0, len(*list))
	for _, a := range *list {
		c.valid = append(c.valid, ipam.Owner{ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return nil
}

// owners are the attachments that are alive, as what is made for them names them.
func (c *call) owners() []state.Owner {
	owners := make([]state.Owner, 0, len(c.valid))
	for _, o := range c.valid {
		owners = append(owners, state.Owner{Network: c.conf.Name, ContainerID: o.ContainerID, IfName: o.IfName})
	}
	return owners
}

// addressing is the IPAM plugin of the call.
func (c *call) addressing() ipam.Request {
	r := ipam.Request{
		Type: c.conf.IPAM.Type, Stdin: c.lean, Args: c.env.Args, Netns: c.env.Netns, Valid: c.valid,
		Owner: ipam.Owner{ContainerID: c.env.ContainerID, IfName: c.env.IfName},
	}
	if r.Executed() {
		r.Stdin = c.given // all of it is its business
	}
	return r
}
