package hostlocal

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// childVariable asks the test binary for one of the children below, with its
// configuration as JSON in argsVariable.
const (
	childVariable = "HOSTLOCAL_TEST_CHILD"
	argsVariable  = "HOSTLOCAL_TEST_CONFIG"
)

func TestMain(m *testing.M) {
	children := map[string]func(Config) error{
		"churn":    churn,
		"fulldisk": fullDisk,
		"readonly": readOnly,
	}
	child, ok := children[os.Getenv(childVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	var c Config
	err := json.Unmarshal([]byte(os.Getenv(argsVariable)), &c)
	if err == nil {
		err = child(c)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childCommand runs the test binary as a child, for a process that can be
// killed or have namespaces of its own.
func childCommand(t *testing.T, child string, c Config) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childVariable+"="+child, argsVariable+"="+string(text))
	return cmd
}

// ownMounts gives a child mounts that end with it, without asking for root.
func ownMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}
