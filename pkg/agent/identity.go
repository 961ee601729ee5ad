package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// identity is who this host is to the cluster. It lies in the state directory, and so survives a change of the host name, and
// tells a copy of the directory from the original.
type identity struct {
	Node string `json:"node"`
	// Machine is a hash of the machine ID.
	Machine string `json:"machine,omitempty"`
	// Address on the underlay and Boot ID with which etcd knew this host last.
	Address netip.Addr `json:"address,omitzero"`
	Boot    string     `json:"boot,omitempty"`
	// Hold of the cluster, as it was known last.
	Hold   time.Duration   `json:"hold,omitempty"`
	Memory registry.Memory `json:"memory"`
}

var errCopied = errors.New("the state directory is another machine's")

// recognise says who this host is, of what the state directory says and the configuration. A directory that was copied from
// another machine has nothing to say: the error is errCopied.
func (i identity) recognise(c Config, machine string, owns bool) (identity, error) {
	if i.Machine != "" && machine != "" && i.Machine != machine {
		return identity{Node: c.Node, Machine: machine}, fmt.Errorf("%w, of node %s: what it says is put aside", errCopied, i.Node)
	}
	i.Machine = machine
	if i.Node == "" || !owns {
		i.Node = c.Node // nothing depends on the name yet
	}
	return i, nil
}

// machineHash is the machine's ID as others may see it (machine-id(5) asks for a hash); empty without one.
func machineHash(file string) string {
	text, err := os.ReadFile(file)
	id := strings.TrimSpace(string(text))
	if err != nil || id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("fairwayd " + id))
	return hex.EncodeToString(sum[:8])
}

func readIdentity(file string) (i identity, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &i)
	}
	if err != nil {
		return identity{}, fmt.Errorf("state-dir: %w", err)
	}
	return i, nil
}
