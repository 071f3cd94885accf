//go:build unix

package child_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/steelyard-go/steelyard/lab/internal/child"
)

const stopTimeout = 5 * time.Second

func TestMain(m *testing.M) {
	child.RunIf("echo", echo)
	child.RunIf("refuses", func(context.Context, *child.Env) error { return errors.New("no such scale") })
	child.RunIf("deaf", func(_ context.Context, env *child.Env) error {
		env.Ready("")
		select {}
	})
	child.RunIf("counts", counts)
	child.RunIf("parent", parent)
	goleak.VerifyTestMain(m)
}

// echo is ready with its config, says every command back as an error, and
// prints between its messages.
func echo(_ context.Context, env *child.Env) error {
	fmt.Println("a stray line")
	env.Ready(string(env.Config))
	for c := range env.Commands {
		if c.Text == "fine" {
			c.Answer(nil)
			continue
		}
		c.Answer(errors.New(c.Text))
	}
	return nil
}

// counts writes to a file, its config, on several threads for as long as it runs.
func counts(ctx context.Context, env *child.Env) error {
	var name string
	if err := json.Unmarshal(env.Config, &name); err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	for range 4 {
		go func() {
			for n := uint64(0); ; n++ {
				_, _ = file.WriteAt(strconv.AppendUint(nil, n, 10), 0)
			}
		}()
	}
	env.Ready("")
	<-ctx.Done()
	return nil
}

// parent starts a child of its own, tells its pid and ends without a word to it.
func parent(ctx context.Context, env *child.Env) error {
	c, err := child.Start(ctx, "deaf", nil)
	if err != nil {
		return err
	}
	env.Ready(strconv.Itoa(c.Pid()))
	<-ctx.Done()
	os.Exit(0)
	return nil
}

func start(t *testing.T, name string, config any) *child.Process {
	t.Helper()
	p, err := child.Start(t.Context(), name, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Kill()) })
	return p
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestStart_HandsConfigToTheChildAndItsNoteBack(t *testing.T) {
	p := start(t, "echo", map[string]int{"weight": 4})
	require.Equal(t, `{"weight":4}`, p.Note())
	require.True(t, alive(p.Pid()))
	require.NoError(t, p.Stop(stopTimeout))
	require.False(t, alive(p.Pid()))
}

func TestStart_ErrorCarriesWhatTheChildSaid(t *testing.T) {
	_, err := child.Start(t.Context(), "refuses", nil)
	require.ErrorContains(t, err, "start refuses: ")
	require.ErrorContains(t, err, "no such scale")
}

func TestProcess_DoReturnsTheAnswer(t *testing.T) {
	p := start(t, "echo", nil)
	require.NoError(t, p.Do(t.Context(), "fine"))
	require.EqualError(t, p.Do(t.Context(), "too heavy"), `echo: "too heavy": too heavy`)
	require.NoError(t, p.Do(t.Context(), "fine"))
}

func TestProcess_DoEndsWithItsContextAndTheChildWithIt(t *testing.T) {
	p := start(t, "echo", nil)
	require.NoError(t, p.Suspend())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Do(ctx, "fine"), context.DeadlineExceeded)
	require.False(t, alive(p.Pid()))
}

func TestProcess_StopKillsOneThatStays(t *testing.T) {
	p := start(t, "deaf", nil)
	require.ErrorContains(t, p.Stop(50*time.Millisecond), "deaf: still running 50ms after it was asked to end")
	require.False(t, alive(p.Pid()))
}

func TestProcess_StopReachesASuspendedChild(t *testing.T) {
	p := start(t, "echo", nil)
	require.NoError(t, p.Suspend())
	require.NoError(t, p.Stop(stopTimeout))
}

func TestProcess_SuspendedHasHaltedOnLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere it may go on for a moment")
	}
	name := filepath.Join(t.TempDir(), "count")
	p := start(t, "counts", name)
	for range 20 {
		require.NoError(t, p.Suspend())
		first, err := os.ReadFile(name)
		require.NoError(t, err)
		for range 50 {
			again, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, string(first), string(again))
		}
		require.NoError(t, p.Resume())
	}
}

func TestProcess_SaysHowTheChildEnded(t *testing.T) {
	p := start(t, "deaf", nil)
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGABRT))
	<-p.Exited()
	require.Error(t, p.Stop(stopTimeout))
	require.ErrorContains(t, p.Do(t.Context(), "fine"), "deaf: ")
}

func TestChild_IgnoresAnInterrupt(t *testing.T) {
	p := start(t, "echo", nil)
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGINT))
	require.NoError(t, p.Do(t.Context(), "fine"))
}

func TestChild_DoesNotOutliveItsParent(t *testing.T) {
	p := start(t, "parent", nil)
	grandchild, err := strconv.Atoi(p.Note())
	require.NoError(t, err)
	require.True(t, alive(grandchild))
	require.NoError(t, p.Kill())
	// Whoever adopts an orphan may take its time to reap it: a zombie counts as gone.
	require.Eventually(t, func() bool { return !alive(grandchild) || zombie(grandchild) }, 15*time.Second, 10*time.Millisecond)
}

func zombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && len(out) > 0 && out[0] == 'Z'
}
