package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// nameRun is the name under which the tests start their own program as one that calls Run.
const nameRun = "sandbox-run"

func TestMain(m *testing.M) {
	Enter()
	if filepath.Base(os.Args[0]) == nameRun {
		os.Exit(runOrder(os.Args[1]))
	}
	testnet.Run(m)
}

// runSpec is a Spec on the command line of another process.
type runSpec struct {
	Spec
	Networks []string // conflists
	Etc      *Etc
}

func (s runSpec) text() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // only of strings
	}
	return string(text)
}

func runOrder(text string) int {
	var s runSpec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, conf := range s.Networks {
		network, err := libcni.NetworkConfFromBytes([]byte(conf))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s.Endpoints = append(s.Endpoints, Endpoint{Network: network})
	}
	if s.Etc != nil {
		s.Files = s.Etc.Files
	}
	status, err := Run(s.Spec)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 125
	}
	return status
}
