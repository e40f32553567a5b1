// Who may come in: keys, allow, revoke, members, invite, join.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

namespace {

/// As what a key comes in, and what it may do there.
template <class Arguments>
void add_rights(CLI::App& on, Arguments& arguments) {
    on.add_option("--role", arguments.roles, "master, member, arbiter, serverapp or node")
        ->type_name("ROLE")
        ->delimiter(',');
    on.add_option("--rank", arguments.ranks, "of a member")->type_name("R")->delimiter(',');
    on.add_option("--may", arguments.may,
                  "submit, stop, see, status or logs: what it may do with runs of others")
        ->type_name("RIGHT")
        ->delimiter(',');
}

void add_rotate(CommandLine& line, CLI::App& above) {
    KeysRotateArguments& rotate = line.keys_rotate;
    CLI::App& on = line.command(
        above, "rotate", "Exchanges this party's key for a new one at the broker.",
        "The new key has the rights of the old one and ends when that would have; the old one is\n"
        "good for a day more. Processes that run go over to the new key by themselves.\n"
        "Example:\n"
        "  vflbus keys rotate --config shop.toml",
        rotate);
    add_broker_address(on, rotate.broker);
    add_config(on, rotate);
    add_output(on, rotate);
}

}  // namespace

void add_keys(CommandLine& line) {
    CLI::App& above = CommandLine::group(line.app, "keys", "The keys of this party.",
                                         "Examples:\n"
                                         "  vflbus keys new member-0\n"
                                         "  vflbus keys fingerprint member-0");
    above.require_subcommand(1);
    CLI::App& made = line.command(
        above, "new", "Makes a key pair: NAME.key, which stays here, and NAME.pub.",
        "The secret file is readable for its owner alone, and no file is ever written over.\n"
        "Examples:\n"
        "  vflbus keys new broker          at the broker\n"
        "  vflbus keys new member-0        at the party; its broker allows the fingerprint\n"
        "  vflbus keys new master --expires 90d --certificates /etc/vflbus/keys",
        line.keys_new);
    made.add_option("NAME", line.keys_new.name, "of the node that it is for, or broker")
        ->type_name("")
        ->required();
    made.add_option("--expires", line.keys_new.expires, "how long it is good; default 365d")
        ->type_name("PERIOD");
    add_key_store(made, line.keys_new);
    CLI::App& shown = line.command(above, "show", "Public keys, fingerprints and when they expire.",
                                   "Example:\n"
                                   "  vflbus keys show",
                                   line.keys_show);
    shown.add_option("NAME", line.keys_show.name, "one of them; default: all")->type_name("");
    add_key_store(shown, line.keys_show);
    CLI::App& read = line.command(above, "fingerprint", "What is read to the other side.",
                                  "Examples:\n"
                                  "  vflbus keys fingerprint member-0\n"
                                  "  vflbus keys fingerprint from-the-shop/member-0.pub",
                                  line.keys_fingerprint);
    read.add_option("NAME", line.keys_fingerprint.name, "of the key, or a file")
        ->type_name("")
        ->required();
    add_key_store(read, line.keys_fingerprint);
    add_rotate(line, above);
}

void add_allow(CommandLine& line) {
    AllowArguments& allow = line.allow;
    CLI::App& on =
        line.command(line.app, "allow", "Lets a key in: at the broker, in its allow-list.",
                     "A running broker reads the list again by itself.\n"
                     "Examples:\n"
                     "  vflbus allow member-0 --key member-0.pub --role member --rank 0\n"
                     "  vflbus allow master --key ABCD-EFGH-IJKL-MNOP-QRST-UVWX --role master\n"
                     "  vflbus allow alice --key alice.pub --may see,status,submit",
                     allow);
    on.add_option("NAME", allow.name, "of the node, as which the key comes in")
        ->type_name("")
        ->required();
    on.add_option("--key", allow.key, "its .pub file, its public key, or its fingerprint")
        ->type_name("KEY")
        ->required();
    add_rights(on, allow);
    on.add_option("--expires", allow.expires, "how long; default: as its file says, or 365d")
        ->type_name("PERIOD");
    auto* also =
        on.add_flag("--also", allow.also, "beside the key that the name has: both are good");
    on.add_flag("--replace", allow.replace, "in place of the keys that the name has")
        ->excludes(also);
    add_key_store(on, allow);

    RevokeArguments& revoke = line.revoke;
    CLI::App& gone = line.command(line.app, "revoke", "Takes keys out of the broker's allow-list.",
                                  "A running broker ends their sessions within a second.\n"
                                  "Examples:\n"
                                  "  vflbus revoke member-0\n"
                                  "  vflbus revoke member-0 --key ABCD-EFGH-IJKL-MNOP-QRST-UVWX",
                                  revoke);
    gone.add_option("NAME", revoke.name, "all its keys, without --key")->type_name("")->required();
    gone.add_option("--key", revoke.key, "only this one")->type_name("KEY");
    add_key_store(gone, revoke);

    CLI::App& all = line.command(line.app, "members", "Who is on the broker's allow-list.",
                                 "Example:\n"
                                 "  vflbus members --json",
                                 line.members);
    add_key_store(all, line.members);
}

void add_invite(CommandLine& line) {
    InviteArguments& invite = line.invite;
    CLI::App& on = line.command(
        line.app, "invite", "Prints one line with which a party joins: at the broker.",
        "The line has a secret that lets one key in, once. Hand it over as you would a password.\n"
        "Examples:\n"
        "  vflbus invite --name member-0 --role member --rank 0 --expires 7d\n"
        "  vflbus invite --name master --role master --broker tcp://10.0.0.1:7423\n"
        "  vflbus invite --name member-0 --role member --rank 0 --replace    a new key for the "
        "name\n"
        "  vflbus invite --list\n"
        "  vflbus invite --withdraw member-0",
        invite);
    auto* name = on.add_option("--name", invite.name, "of the node, as which the key comes in")
                     ->type_name("NAME");
    add_rights(on, invite);
    on.add_option("--expires", invite.expires, "how long the invitation is good; default 7d")
        ->type_name("PERIOD");
    on.add_option("--key-expires", invite.key_expires,
                  "how long the key may be good that joins; default 365d")
        ->type_name("PERIOD");
    on.add_option("--broker", invite.broker,
                  "where parties reach the broker; default: where it was last started to listen")
        ->type_name("ADDRESS")
        ->envname("VFLBUS_BROKER");
    auto* also = on.add_flag("--also", invite.also, "beside the key that the name has");
    on.add_flag("--replace", invite.replace, "in place of the keys that the name has")
        ->excludes(also);
    on.add_flag("--list", invite.list, "who is invited, and who has joined so")->excludes(name);
    on.add_option("--withdraw", invite.withdraw, "ends the invitations of a name")
        ->type_name("NAME")
        ->excludes(name);
    add_key_store(on, invite);
}

void add_join(CommandLine& line) {
    JoinArguments& join = line.join;
    CLI::App& on = line.command(
        line.app, "join", "Makes this party's key and has it let in, by an invitation.",
        "The key never leaves this machine. The section of the party is written into the\n"
        "configuration. If the answer of the broker got lost, run the same command again.\n"
        "Examples:\n"
        "  vflbus join vflbus-invitation-1,...\n"
        "  vflbus join invitation.txt --config shop.toml --data shop.csv --id customer_id\n"
        "  vflbus join -    reads the line from standard input",
        join);
    on.add_option("LINE", join.line, "of `vflbus invite`, or a file with it, or - to read it")
        ->type_name("")
        ->required();
    on.add_option("-c,--config", join.config, "to write into; default: ./vflbus.toml")
        ->type_name("FILE");
    on.add_option("--data", join.data, "the party's table, for its section")->type_name("FILE");
    on.add_option("--id", join.id, "the table's id column")->type_name("COLUMN");
    on.add_option("--label", join.label, "of a master: the label columns")
        ->type_name("COLUMN")
        ->delimiter(',');
    on.add_option("--key-expires", join.key_expires, "how long the key is good; default 365d")
        ->type_name("PERIOD");
    add_key_store(on, join);
}

}  // namespace vflbus::cli
