// Validates an AsyncAPI document and the schemas that it refers to: `node .ci/asyncapi.cjs FILE`.
const { Parser, fromFile } = require('@asyncapi/parser');

const ERROR = 0;

async function main(file) {
    const { document, diagnostics } = await fromFile(new Parser(), file).parse();
    for (const { severity, path, message } of diagnostics) {
        if (severity === ERROR) console.error(`${file}: ${path.join('.')}: ${message}`);
    }
    if (!document) process.exit(1);
    const unresolved = document.allMessages().all().filter((message) => !message.payload()?.properties());
    if (unresolved.length > 0) {
        console.error(`${file}: no schema for ${unresolved.map((message) => message.id()).join(', ')}`);
        process.exit(1);
    }
    const counts = [document.allChannels(), document.allMessages(), document.allOperations()].map((all) => all.all().length);
    console.log(`asyncapi: ${file} is valid: ${counts[0]} channels, ${counts[1]} messages, ${counts[2]} operations`);
}

main(process.argv[2]);
