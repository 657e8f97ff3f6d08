package bootstrap

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Config is what an Installer needs.
type Config struct {
	Logger hclog.Logger
	// AgentDir holds agent-linux-amd64 and agent-linux-arm64.
	AgentDir string
	// Signers are the keys of the ssh-agent that a caller lent for a machine; nil when nobody can lend one.
	Signers func(machine string) []ssh.Signer
	Limits  Limits // zero fields take their defaults
}

// Limits bound each wait.
type Limits struct {
	login.Limits
	Probe     time.Duration // 30 s
	CloudInit time.Duration // 330 s; the script itself gives up after 300 s and is no failure then
	Upload    time.Duration // 5 min
	Install   time.Duration // 2 min, also to uninstall
}

func (l Limits) withDefaults() Limits {
	l.Probe = cmp.Or(l.Probe, 30*time.Second)
	l.CloudInit = cmp.Or(l.CloudInit, 330*time.Second)
	l.Upload = cmp.Or(l.Upload, 5*time.Minute)
	l.Install = cmp.Or(l.Install, 2*time.Minute)
	return l
}

// Installer logs in to hosts. Between two calls it keeps nothing of them but the host keys that a check saw.
type Installer struct {
	logger  hclog.Logger
	signers func(machine string) []ssh.Signer
	limits  Limits
	agents  *archives
	checked *contacts
}

// New returns an Installer. The agent's binaries are read when they are first needed.
func New(config Config) *Installer {
	return &Installer{
		logger: config.Logger.Named("bootstrap"), signers: config.Signers, limits: config.Limits.withDefaults(),
		agents: &archives{dir: config.AgentDir, known: map[string]archive{}}, checked: &contacts{keys: map[string][]string{}},
	}
}

// Check logs in to a host and looks whether it can be taken over. It makes one TCP connection and changes nothing.
// fault.Precondition or fault.Denied say in a sentence what stands in the way, fault.Unavailable that nobody answers.
func (i *Installer) Check(ctx context.Context, target Target) error {
	c, err := i.connect(ctx, target, nothing)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := i.probe(ctx, c, target)
	if err != nil {
		return err
	}
	if err := refusal(f, target, target.MachineUID); err != nil {
		return err
	}
	i.checked.remember(target.MachineUID, c.HostKeys)
	// A create follows, whose host waits for the compressed agent then; a failure is told there.
	i.agents.prepare(f.Arch)
	return nil
}

// Install leaves a running agent with a ticket on the host, over one connection, and waits for sshd up to target.Wait. It
// may be repeated; the newest ticket wins. Also with an error the result has the host keys that were seen. What may pass is
// fault.Unavailable; progress takes a line for people now and then.
func (i *Installer) Install(ctx context.Context, target Target, payload Payload, progress driver.Progress) (Result, error) {
	c, err := i.connect(ctx, target, progress)
	if err != nil {
		return Result{}, err
	}
	defer c.Close()
	i.checked.forget(target.MachineUID) // the caller keeps them from now on
	progress("Detecting the provisioner...")
	result := Result{HostKeys: c.HostKeys}
	f, err := i.settled(ctx, c, target, progress)
	if err != nil {
		return result, err
	}
	result.OS, result.Arch = f.OSName, f.Arch
	if err := refusal(f, target, payload.MachineUID); err != nil {
		return result, err
	}
	if err := i.authorize(ctx, c, target); err != nil {
		return result, err
	}
	progress(fmt.Sprintf("Provisioning with %s...", f.OSName))
	command, err := i.provide(ctx, c, target, f, progress)
	if err != nil {
		return result, err
	}
	switch {
	case payload.Unreached:
	case len(payload.Endpoints) > 0:
		result.Endpoints = payload.Endpoints
	default:
		result.Endpoints = []string{c.OwnEnd(payload.ControlPort)}
	}
	result.Reached, err = i.order(ctx, c, target, command, payload, result.Endpoints, progress)
	return result, err
}

// probe runs the probe and reads what it says.
func (i *Installer) probe(ctx context.Context, c *login.Connection, target Target) (survey.Facts, error) {
	var answer survey.Answer
	out, err := runScript(ctx, c, i.limits.Probe, survey.Script, answer.Line)
	if err != nil {
		return survey.Facts{}, err
	}
	if !answer.Begun() {
		return survey.Facts{}, noRoot(c, target, out)
	}
	if !answer.Whole() {
		return survey.Facts{}, fault.E("bootstrap.probe", fault.Unavailable, c.Machine,
			fmt.Errorf("%s did not finish answering what it is: %s", c.Address, out.Complaint()))
	}
	f := answer.Facts()
	if f.UID != "0" {
		return f, fault.E("bootstrap.probe", fault.Precondition, c.Machine, fmt.Errorf("sudo on %s does not make the user root", c.Address)).
			WithHint("let the user sudo as root, or log in as root")
	}
	return f, nil
}

// settled probes a host that cloud-init is done with.
func (i *Installer) settled(ctx context.Context, c *login.Connection, target Target, progress driver.Progress) (survey.Facts, error) {
	f, err := i.probe(ctx, c, target)
	if err != nil || !f.CloudInit {
		return f, err
	}
	progress("Waiting for cloud-init to finish...")
	if _, err := runScript(ctx, c, i.limits.CloudInit, cloudWaitScript, nil); err != nil {
		return f, err
	}
	if f, err = i.probe(ctx, c, target); err == nil && f.CloudInit {
		progress("cloud-init is still busy, going on beside it")
	}
	return f, err
}

// Remove takes away what we put on a host, with the engine when purgeEngine is set and we installed it. A host where
// nothing of ours is left is success, as is one that belongs to another machine by now. It may be repeated.
func (i *Installer) Remove(ctx context.Context, target Target, purgeEngine bool, progress driver.Progress) error {
	return i.leave(ctx, target, progress, func(c *login.Connection, f survey.Facts) error {
		return i.uninstall(ctx, c, target, f, purgeEngine, progress)
	})
}

// leave logs in to a host that is given back, has work take away what is ours there, and looks whether it did.
func (i *Installer) leave(ctx context.Context, target Target, progress driver.Progress, work func(*login.Connection, survey.Facts) error) error {
	c, err := i.connect(ctx, target, progress)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := i.probe(ctx, c, target)
	if err != nil {
		return err
	}
	if target.foreign(f) {
		progress("The host belongs to another machine now; it is left as it is")
		return nil
	}
	if err := work(c, f); err != nil {
		return err
	}
	if f, err = i.probe(ctx, c, target); err != nil {
		return err
	}
	if f.AgentDigest != "" || f.StateDir {
		return fault.E("bootstrap.Remove", fault.Internal, target.Machine,
			fmt.Errorf("something of mctl's is left on %s", c.Address)).
			WithHint("look at " + agentPath + " and " + stateDir + " there, and delete them")
	}
	return nil
}

// foreign reports whether the agent that is there serves another machine.
func (t Target) foreign(f survey.Facts) bool {
	return t.MachineUID != "" && f.AgentUID != "" && f.AgentUID != t.MachineUID
}

// Reboot has a host boot anew, and returns when the host was told to. Repeated, it boots once more. fault.Precondition says
// that the host does not let us, fault.Denied that there is no key, fault.Unavailable that nobody answers.
func (i *Installer) Reboot(ctx context.Context, target Target, progress driver.Progress) error {
	c, err := i.connect(ctx, target, progress)
	if err != nil {
		return err
	}
	defer c.Close()
	out, err := c.Run(ctx, i.limits.Probe, rebootCommand, nil, nothing)
	if err == nil && out.Status != 0 {
		err = fault.E("bootstrap.Reboot", fault.Precondition, target.Machine, fmt.Errorf("%s does not boot anew: %s", c.Address, out.Complaint())).
			WithHint("look there with `mctl ssh " + target.Machine + "`")
	}
	return err
}

func nothing(string) {}

// Dial logs in to a host that was met before, at once or not at all. fault.Denied where no host key is pinned.
func (i *Installer) Dial(ctx context.Context, target Target) (*login.Connection, error) {
	if len(target.HostKeys) == 0 && len(target.SSH.HostKeys) == 0 {
		return nil, fault.New("bootstrap.Dial", fault.Denied, target.Machine,
			fmt.Sprintf("the host key of %s is not known", login.Clean(target.SSH.Address))).
			WithHint(fmt.Sprintf("`mctl provision %s` meets the host over SSH", target.Machine))
	}
	target.Wait = 0
	return i.connect(ctx, target, nothing)
}

// connect logs in to a target.
func (i *Installer) connect(ctx context.Context, target Target, progress driver.Progress) (*login.Connection, error) {
	host := login.Host{
		Machine: target.Machine, Address: target.SSH.Address, Port: target.SSH.Port, User: target.SSH.User,
		HostKeys: target.HostKeys, Wait: target.Wait, Learning: !target.Adopted,
	}
	if len(host.HostKeys) == 0 {
		host.HostKeys = target.SSH.HostKeys
	}
	if len(host.HostKeys) == 0 {
		host.HostKeys = i.checked.recall(target.MachineUID)
	}
	switch { // the controller has no keys of its own beside those it is given
	case target.Key != nil:
		signer, err := driver.ParseKey(target.Key)
		if err != nil {
			return nil, fault.E("bootstrap.connect", fault.Precondition, target.Machine, err).WithHint(fault.HintOf(err))
		}
		host.Signers = []ssh.Signer{signer}
	case i.signers != nil:
		host.Signers = i.signers(target.Machine)
	}
	if len(host.Signers) == 0 {
		return nil, fault.New("bootstrap.connect", fault.Denied, target.Machine,
			fmt.Sprintf("there is no key to log in to %s with", login.Clean(target.SSH.Address))).
			WithHint("give the key's file, or add the key to a running ssh-agent (ssh-add)")
	}
	return login.Connect(ctx, i.logger, host, i.limits.Limits, progress)
}

// runScript has the host's shell read one of our texts.
func runScript(ctx context.Context, c *login.Connection, limit time.Duration, text string, line func(string)) (login.Outcome, error) {
	return c.Run(ctx, limit, scriptCommand, strings.NewReader(text), line)
}
