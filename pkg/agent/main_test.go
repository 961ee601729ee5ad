package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// agentVar holds the configuration of a process of this program that is to be an agent.
const agentVar = "FAIRWAY_TEST_AGENT"

func TestMain(m *testing.M) {
	if config := os.Getenv(agentVar); config != "" {
		if err := beAgent(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testnet.Run(m)
}

// readyText is what an agent logs when it is ready.
const readyText = "ready for the test"

func beAgent(config string) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	var c Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	return Run(ctx, c, func() { slog.Info(readyText) })
}
