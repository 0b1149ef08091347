// Camera groups in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain

extension Operation {
    static let listFolders = Operation(
        "list_folders", .cameras, "The camera groups that the caller sees",
        query: [.source],
        answers: [
            .json(
                .object(
                    "FolderList", ["folders": .list(FolderBody.schema), "total": .count]))
        ])

    static let addFolder = Operation(
        "add_folder", .cameras, "Adds a camera group", body: .json(.newFolder),
        answers: [.created(FolderBody.schema)],
        errors: [.sourceForbidden, .alreadyExists, .unprocessable])

    static let getFolder = Operation(
        "get_folder", .cameras, "One camera group", path: place,
        answers: [.json(FolderBody.schema)], errors: [.notFound])

    static let renameFolder = Operation(
        "rename_folder", .cameras, "Gives a camera group another name", path: place,
        body: .json(.folderNames), answers: [.json(FolderBody.schema)],
        errors: [.notFound, .unprocessable])

    static let removeFolder = Operation(
        "remove_folder", .cameras, "Removes a camera group that no camera is in", path: place,
        answers: [.noContent], errors: [.notFound, .conflict])

    private static let place: [String: Schema] = ["source": .source, "folder": .folder]
}

extension Schema {
    static let folderNames = Schema.object(
        "FolderNames", ["name": .cameraName, "name_ar": .cameraNameArabic.optional])

    static let newFolder = folderNames.adding(["source": Schema.source, "folder_id": Schema.folder])
        .named("NewFolder")
}

extension FolderBody {
    static let schema = Schema.object(
        "Folder",
        [
            "source": .source, "folder_id": .folder, "name": .text(), "name_ar": .text(),
            "created_at": .time, "updated_at": .time,
        ])
}
