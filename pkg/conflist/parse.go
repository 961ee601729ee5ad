package conflist

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/driver"
)

// validName is the CNI specification's rule for names, which is Docker's too.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// nameMax leaves room for what is put around a name to make it that of a file.
const nameMax = 200

// CheckName refuses what cannot be a network's name: it becomes part of paths.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a network: begin with a letter or digit, and use letters, digits, '_', '.' and '-' only", name)
	}
	if len(name) > nameMax {
		return fmt.Errorf("the name of the network has %d characters: use at most %d", len(name), nameMax)
	}
	return nil
}

// read reads the network of a file.
func read(path string) (Network, error) {
	content, err := readFile(path)
	if err != nil {
		return Network{}, err
	}
	list, err := decode(path, content)
	if err != nil {
		return Network{}, fmt.Errorf("%s: %w", path, err)
	}
	n, err := describe(list)
	if err != nil {
		return Network{}, fmt.Errorf("%s: %w", path, err)
	}
	n.File = path
	if info, err := os.Stat(path); err == nil && n.Created.IsZero() {
		n.Created = info.ModTime()
	}
	return n, nil
}

// longestFile is more than any network's, in bytes.
const longestFile = 8 << 20

// readFile reads a file of the netconf directory, where anything may lie: a FIFO would be waited for.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no regular file", path)
	case info.Size() > longestFile:
		return nil, fmt.Errorf("%s: has %d bytes, and no network's file has more than %d", path, info.Size(), longestFile)
	}
	return os.ReadFile(path)
}

// decode reads a list, or a single plugin as a list of one. As libcni has it, the ending of the file decides.
func decode(path string, content []byte) (*libcni.NetworkConfigList, error) {
	if filepath.Ext(path) != listEnding {
		return listOf(content)
	}
	list, err := libcni.NetworkConfFromBytes(content)
	if err != nil {
		return nil, err
	}
	if err := CheckName(list.Name); err != nil {
		return nil, err // before it becomes a path
	}
	if !list.LoadOnlyInlinedPlugins {
		more, err := libcni.NetworkPluginConfsFromFiles(filepath.Dir(path), list.Name)
		if err != nil {
			return nil, err
		}
		list.Plugins = append(list.Plugins, more...)
	}
	return list, nil
}

// listOf makes a list of a single plugin, as libcni does: name and version become those of the list.
func listOf(content []byte) (*libcni.NetworkConfigList, error) {
	single, err := libcni.NetworkPluginConfFromBytes(content)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(file{
		Name: single.Network.Name, CNIVersion: single.Network.CNIVersion, Plugins: []json.RawMessage{content},
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(list)
}

// describe tells what a list of plugins is as a network.
func describe(list *libcni.NetworkConfigList) (Network, error) {
	if err := CheckName(list.Name); err != nil {
		return Network{}, err
	}
	if len(list.Plugins) == 0 {
		return Network{}, errors.New("it has no plugins")
	}
	var f file
	if err := readForeign(list.Bytes, &f); err != nil {
		return Network{}, err
	}
	var own struct {
		Fairway *About `json:"fairway"`
	}
	if err := json.Unmarshal(list.Bytes, &own); err != nil {
		return Network{}, err
	}
	first := list.Plugins[0]
	of := driver.Of(first.Network.Type)
	n := Network{Name: list.Name, ID: f.id(), List: list, Driver: of.Name, Scope: of.Scope}
	if err := n.readPlugin(first.Bytes); err != nil {
		return Network{}, err
	}
	n.readTop(f)
	return n, nil
}

// readForeign decodes what others may have written: a key that has another type than is known of is as one that is missing, as json.Unmarshal
// goes on behind it. What the network is on the host is not hidden by it.
func readForeign(content []byte, into any) error {
	err := json.Unmarshal(content, into)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return nil
	}
	return err
}

// readTop takes what the top level says.
func (n *Network) readTop(f file) {
	n.Labels = map[string]string{}
	if f.Args != nil {
		n.Labels = nonNil(f.Args.PodmanLabels)
	}
	for key, value := range f.NerdctlLabels {
		n.Labels[key] = value
	}
	about := f.Fairway
	if about == nil {
		if f.NerdctlID != "" {
			n.Maker = Nerdctl
		}
		return
	}
	n.Maker = Fairway
	n.Created, n.Attachable, n.ConfigFrom = about.Created, about.Attachable, about.ConfigFrom
	n.Internal = n.Internal || about.Internal
	n.Agent, n.IPv6, n.NoIPv4 = about.Agent, about.IPv6, about.NoIPv4
	n.Options = nonNil(about.Options)
	n.IPAM.Options = about.IPAMOptions
	if n.ConfigOnly && about.IPAMDriver != "" {
		n.IPAM.Driver = about.IPAMDriver
	}
	if len(about.Pools) > 0 {
		n.IPAM.Pools = about.Pools
	}
}

func (f file) id() string {
	if raw, err := hex.DecodeString(f.NerdctlID); err == nil && len(raw) == 32 {
		return f.NerdctlID
	}
	return IDOf(f.Name)
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
