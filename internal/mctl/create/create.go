package create

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/signer"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// adopting is the driver whose hosts were there before: who may log in to them is known already.
const adopting = "generic"

// adoptingKey is its flag for the private key to log in with.
const adoptingKey = "generic-ssh-key"

// maxName is how long a host's name may be: a longer one would fail as a folder's name before the controller refused it.
const maxName = 63

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9\-\.]*$`)

type options struct {
	name   string
	spec   *controllerv1.MachineSpec
	flags  []*controllerv1.DriverFlag // the driver's
	noWait bool
	dryRun bool
}

// Words are docker-machine's lines for the phases of a creation.
func Words() map[string][]string {
	return map[string][]string{
		"booting": {
			"Waiting for machine to be running, this may take a few minutes...",
			"Detecting operating system of created instance...",
			"Waiting for SSH to be available...",
		},
		"installing": {
			"Copying certs to the local machine directory...",
			"Copying certs to the remote machine...",
			"Setting Docker configuration on the remote daemon...",
		},
	}
}

// create asks for the machine and follows its making. A refused create leaves nothing behind.
func create(ctx context.Context, env *cli.Env, opts options) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	progress := env.Progress()()
	err = build(ctx, env, client, dir, opts, progress)
	progress.Done(err)
	return err
}

// build does it, step by step.
func build(ctx context.Context, env *cli.Env, client *dial.Client, dir state.Dir, opts options, progress output.Progress) error {
	progress.Step("Running pre-create checks...")
	info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	stage, err := dir.Stage(opts.name, info.GetControllerId())
	if err != nil {
		return err
	}
	defer stage.Drop()
	loan, err := prepareLogin(ctx, env, client, stage, opts)
	if err != nil {
		return precheck(err)
	}
	defer loan.Return()
	if opts.dryRun {
		progress.Done(nil)
		return plan(ctx, env, client, opts)
	}
	if err := show(stage, dir, opts); err != nil {
		return err
	}
	asked := env.Now()
	m, err := ask(ctx, env, client, opts)
	if err != nil {
		if unanswered(err) {
			stage.Keep() // it may have been taken note of all the same
		}
		return refused(opts.name, err)
	}
	if _, err := stage.Settle(m.GetUid()); err != nil {
		return err
	}
	if opts.noWait {
		return created(env, m, progress)
	}
	progress.Step("Creating machine...")
	reached, err := follow.Machine(ctx, client, follow.Goal{
		Name: opts.name, UID: m.GetUid(), Generation: m.GetGeneration(), Since: asked, Words: Words(), Alone: true, Progress: progress,
	})
	if err == nil && reached.GetSpec().GetPower() == controllerv1.PowerState_POWER_STATE_STOPPED {
		err = fault.New("create", fault.Conflict, opts.name, fmt.Sprintf("%q was stopped meanwhile", opts.name)).
			WithHint("`mctl start " + opts.name + "` goes on with it")
		progress.Done(err)
	}
	if err != nil {
		return failure{env, client, m, progress}.of(ctx, reached, err)
	}
	return errors.Join(Finish(ctx, env, reached, progress), env.Result(output.Message(reached)))
}

// unanswered reports whether a create may have been taken note of although it failed. A pre-check that finds a host or a cloud
// unavailable is an answer: nothing was stored.
func unanswered(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		fault.Is(err, fault.Unavailable) && fault.ReasonOf(err) != fault.ReasonPrecheck
}

// checkName refuses what can't name a host, in docker-machine's words.
func checkName(name string) error {
	if len(name) <= maxName && namePattern.MatchString(name) {
		return nil
	}
	return cli.Failf("Error creating machine: Invalid hostname specified. Allowed hostname chars are: 0-9a-zA-Z . -").
		WithHint("use at most 63 of them; the name and each part between dots begin and end with a letter or digit")
}

// vacant refuses a name that is taken, before a line is printed: scripts look for this sentence in the first one.
func vacant(ctx context.Context, env *cli.Env, name string) error {
	dir, err := env.State()
	if err != nil {
		return err
	}
	if dir.Machine(name).Foreign() {
		return fault.E("create", fault.Exists, name, errExists(name)).
			WithHint("its folder was made by another program; move it away, or take another name")
	}
	_, err = env.Get(ctx, name)
	switch {
	case err == nil:
		return refused(name, fault.E("create", fault.Exists, name, errExists(name)))
	case fault.Is(err, fault.NotFound):
		return nil
	}
	return err
}

// show gives the folder its name, with docker-machine's view in it, before anything is asked of a cloud: who finds no
// config.json after a create that failed or was killed takes it that there is nothing to remove.
func show(stage *state.Stage, dir state.Dir, opts options) error {
	view := state.ViewOf(&controllerv1.Machine{Name: opts.name, Spec: opts.spec}, dir, opts.flags)
	if stage.HasKey() {
		view.Driver.SSHKeyPath = dir.Machine(opts.name).Key()
	}
	if err := stage.WriteView(view); err != nil {
		return err
	}
	return stage.Place()
}

type errExists string

func (name errExists) Error() string { return `Docker machine "` + string(name) + `" already exists` }

// prepareLogin sees to it that the caller will be able to log in: by a new key for a host that is made, by the key that was
// named for one that is adopted, or else by the caller's ssh-agent, which the controller needs too and is lent.
func prepareLogin(ctx context.Context, env *cli.Env, client *dial.Client, stage *state.Stage, opts options) (*signer.Loan, error) {
	if opts.spec.GetDriver() != adopting {
		pair, err := credential.NewKeyPair("mctl-" + opts.name)
		if err != nil {
			return nil, err
		}
		opts.spec.SshAuthorizedKeys = []string{pair.Authorized}
		return nil, stage.WriteKeys(pair.Private, []byte(pair.Authorized+"\n"))
	}
	for _, option := range opts.spec.GetDriverOptions() {
		if option.GetName() == adoptingKey {
			// A file that holds no key is for the driver to refuse, which knows what else people take for one.
			public, _ := credential.AuthorizedLine(option.GetContent())
			return nil, stage.WriteKeys(option.GetContent(), public)
		}
	}
	if !slices.ContainsFunc(opts.spec.GetDriverOptions(), func(o *controllerv1.DriverOption) bool { return o.GetName() == "generic-ip-address" }) {
		return nil, nil // the controller says what is missing
	}
	return signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), opts.name)
}

// ask makes the call. Where it ends without an answer, it looks whether the machine was taken note of all the same.
func ask(ctx context.Context, env *cli.Env, client *dial.Client, opts options) (*controllerv1.Machine, error) {
	asked := env.Now()
	response, err := client.Machines.CreateMachine(ctx, &controllerv1.CreateMachineRequest{
		RequestId: cli.RequestID(), Name: opts.name, Spec: opts.spec,
	})
	if err == nil {
		return response.GetMachine(), nil
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	lookCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	found, lookErr := client.Machines.GetMachine(lookCtx, &controllerv1.GetMachineRequest{Name: opts.name})
	if lookErr != nil || !isOurs(found.GetMachine(), opts, asked) {
		return nil, err
	}
	return found.GetMachine(), nil
}

func isOurs(m *controllerv1.Machine, opts options, asked time.Time) bool {
	if keys := opts.spec.GetSshAuthorizedKeys(); len(keys) > 0 {
		return slices.Equal(m.GetSpec().GetSshAuthorizedKeys(), keys)
	}
	return m.GetSpec().GetDriver() == opts.spec.GetDriver() && !m.GetCreateTime().AsTime().Before(asked)
}

// refused puts docker-machine's words around why nothing was made.
func refused(name string, err error) error {
	switch {
	case fault.Is(err, fault.Exists):
		return fault.E("create", fault.Exists, name, errExists(name)).WithHint("take another name, or remove it first with `mctl rm " + name + "`")
	case fault.ReasonOf(err) == fault.ReasonUsage:
		return cli.Wrap(err, "Error setting machine configuration from flags provided: %w")
	}
	return precheck(err)
}

// Finish writes the caller's files for a machine whose wish has come true, tries its engine and says how to use it.
func Finish(ctx context.Context, env *cli.Env, m *controllerv1.Machine, progress output.Progress) error {
	if m.GetStatus().GetSsh().GetAddress() == "" {
		// A host without a login has no agent, and nothing is known of an engine.
		_, err := env.WriteFiles(ctx, m, false)
		progress.Done(err)
		if err == nil {
			progress.Note(fmt.Sprintf("The host of %q runs.", m.GetName()))
		}
		return err
	}
	progress.Step("Checking connection to Docker...")
	_, unreached, err := engine.Reach(ctx, env, m)
	progress.Done(errors.Join(err, unreached))
	switch {
	case err != nil:
		return err
	case unreached != nil:
		progress.Note(fmt.Sprintf("Docker runs on %q, but this computer does not reach it: %s", m.GetName(), unreached))
	default:
		progress.Note("Docker is up and running!")
		progress.Note(fmt.Sprintf("To see how to connect your Docker Client to the Docker Engine running on this virtual machine, run: %s env %s",
			env.Args[0], m.GetName()))
	}
	return nil
}

func created(env *cli.Env, m *controllerv1.Machine, progress output.Progress) error {
	progress.Done(nil)
	progress.Note(fmt.Sprintf("%q is being made. To wait for it, run: %s wait %s", m.GetName(), env.App(), m.GetName()))
	return env.Result(output.Message(m))
}
