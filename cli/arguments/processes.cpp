// The processes of a bus, and whether they are well: broker, actor, health, preflight.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

void add_broker(CommandLine& line) {
    BrokerArguments& broker = line.broker;
    CLI::App& on = line.command(
        line.app, "broker", "Route messages between nodes.",
        "Prints the addresses it listens on, one per line, and serves until SIGINT or SIGTERM.\n"
        "Examples:\n"
        "  vflbus broker\n"
        "  vflbus broker --bind tcp://127.0.0.1:0 --bind ipc:///run/vflbus.sock\n"
        "  vflbus broker --bind tcp://10.0.0.1:7423 --certificates keys\n"
        "  vflbus broker --bind tcp://10.0.0.1:7423 --insecure    in the clear",
        broker);
    on.add_option("-b,--bind", broker.bind,
                  "tcp://HOST:PORT (port 0: any free one) or ipc://PATH; may be repeated")
        ->type_name("ADDRESS")
        ->allow_extra_args(false);
    on.add_flag("--insecure", broker.insecure,
                "allow addresses beyond this machine in the clear, without --certificates");
    on.add_option("--state-dir", broker.state_dir,
                  "keeps its registry of runs and nodes here; default: in memory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    add_config(on, broker);
    add_metrics(on, broker);
    add_page(on, broker.http);
    add_output(on, broker);
}

namespace {

/// Which run a master drives.
void add_actor_run(CLI::App& on, ActorArguments& actor) {
    auto* run = on.add_option("--run-id", actor.run_id,
                              "32 hexadecimal digits; master only, default random")
                    ->type_name("ID")
                    ->envname("VFLBUS_RUN_ID");
    on.add_flag("--or-resume", actor.or_resume,
                "with --run-id: go on with that run if it was begun; for supervisors")
        ->needs(run);
    on.add_option("--resume", actor.resume,
                  "go on with this run from its last commit; master only. The id, or its first "
                  "digits")
        ->type_name("RUN")
        ->excludes(run);
}

/// What users' apps need.
void add_actor_app(CLI::App& on, ActorArguments& actor) {
    on.add_option("--app", actor.app,
                  "shared object of a ClientApp (member) or ServerApp (serverapp): docs/apps.md")
        ->type_name("FILE")
        ->envname("VFLBUS_APP");
    on.add_option("--run-config", actor.run_config,
                  "configuration of a ServerApp's run, which all its nodes see; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    on.add_option("--node-config", actor.node_config,
                  "configuration of this node, which its ClientApp sees; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
}

}  // namespace

void add_actor(CommandLine& line) {
    ActorArguments& actor = line.actor;
    CLI::App& on = line.command(
        line.app, "actor", "Take part in runs as master, member or arbiter.",
        "Keys and most flags may be environment variables instead: VFLBUS_ROLE, VFLBUS_RANK,\n"
        "VFLBUS_BROKER, VFLBUS_CONFIG, VFLBUS_POLICY, VFLBUS_MODEL_EPOCHS, ...: docs/operating.md\n"
        "has them all.\n"
        "Examples:\n"
        "  vflbus actor --role master --config conf/parties/master.toml\n"
        "  vflbus actor --role member --rank 0 --config conf/parties/member-0.toml\n"
        "  vflbus actor --role member --rank 1 --config conf/parties/member-1.toml --once\n"
        "  VFLBUS_ROLE=member VFLBUS_RANK=1 vflbus actor --once    and VFLBUS_CONFIG\n"
        "  vflbus actor --role arbiter --broker tcp://10.0.0.1:7423    no data; opens gradients\n"
        "  vflbus actor --role member --app ./client.so            apps; needs no rank\n"
        "  vflbus actor --role serverapp --app ./server.so --run-config rounds=3",
        actor);
    on.add_option("--role", actor.role, "master, member, arbiter or serverapp")->type_name("ROLE");
    add_number(on, "--rank", actor.rank, "of a member, 0 to world_size - 1")->type_name("R");
    on.add_flag("--once", actor.once, "a member ends with its first run, and its exit code");
    on.add_flag("--serve", actor.serve,
                "a master that waits for runs that `vflbus run submit` hands it");
    on.add_option("--name", actor.name, "node name; default master or member-R")
        ->type_name("NAME")
        ->envname("VFLBUS_NAME");
    add_broker_address(on, actor.broker);
    on.add_option("--out", actor.out,
                  "where this party keeps its part of the model; default: the run's directory")
        ->type_name("DIR")
        ->envname("VFLBUS_OUT");
    add_actor_run(on, actor);
    on.add_option("--state-dir", actor.state_dir,
                  "lock and incarnation of this node; default: under the runs directory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    on.add_option("--policy", actor.policy,
                  "which owners may have what run with this member's data: docs/policy.md")
        ->type_name("FILE")
        ->envname("VFLBUS_POLICY");
    // what `launch` tells its members, whose state directory is gone with the run
    on.add_option("--policy-dir", actor.policy_dir)->group("")->envname("VFLBUS_POLICY_DIR");
    on.add_option("--model-dir", actor.model_dir)->group("");
    add_actor_app(on, actor);
    add_config(on, actor);
    add_metrics(on, actor);
    add_page(on, actor.http);
    add_trace(on, actor);
    add_output(on, actor);
}

void add_health(CommandLine& line) {
    HealthArguments& health = line.health;
    CLI::App& on = line.command(
        line.app, "health", "Whether a broker or a party is up.",
        "Exit code 0: up; 1: not, with the reason on standard error. Takes less than half a "
        "second.\n"
        "VFLBUS_ROLE, VFLBUS_RANK, VFLBUS_BROKER and VFLBUS_STATE_DIR count as for actor.\n"
        "Examples:\n"
        "  vflbus health --broker tcp://127.0.0.1:7423\n"
        "  vflbus health --role member --rank 0 --ready",
        health);
    on.add_option("--role", health.role, "broker, master, member, ...; default: the broker")
        ->type_name("ROLE");
    add_number(on, "--rank", health.rank, "of a member")->type_name("R");
    on.add_option("--name", health.name, "node name, where it has one of its own")
        ->type_name("NAME");
    add_broker_address(on, health.broker);
    on.add_option("--state-dir", health.state_dir, "that of the party")->type_name("DIR");
    on.add_flag("--ready", health.ready, "of a party: its broker must answer as well");
    add_config(on, health);
    add_output(on, health);
}

void add_preflight(CommandLine& line) {
    PreflightArguments& flight = line.preflight;
    CLI::App& on = line.command(
        line.app, "preflight", "Whether this party could take part: broker, keys, table, machine.",
        "One line for each thing that is looked at: ok, a warning, or what to do. Exit code 0\n"
        "unless something would fail.\n"
        "Examples:\n"
        "  vflbus preflight --config shop.toml\n"
        "  vflbus preflight --config run.toml --role member --rank 0 --json",
        flight);
    on.add_option("--role", flight.role, "master or member; default: each section of the file")
        ->type_name("ROLE")
        ->envname("VFLBUS_ROLE");
    on.add_option("--rank", flight.rank, "of a member")->type_name("R")->envname("VFLBUS_RANK");
    add_broker_address(on, flight.broker);
    add_config(on, flight);
    add_output(on, flight);
}

}  // namespace vflbus::cli
